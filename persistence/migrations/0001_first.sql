-- Documents, the sections they consist of, their operations in packed chunks, and snapshots.
-- Every row of a section names its document, so that erasing and looking for one is easy.

CREATE TABLE documents (
    incarnation text PRIMARY KEY,
    id text NOT NULL,
    organisation text NOT NULL,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    deleted_at timestamptz
);
CREATE UNIQUE INDEX documents_live ON documents (id) WHERE deleted_at IS NULL;
CREATE INDEX documents_id ON documents (id);
CREATE INDEX documents_organisation ON documents (organisation, id);

-- durable_rev: chunks hold every entry up to it. epoch: of the entry at durable_rev. Both only grow.
CREATE TABLE sections (
    incarnation text NOT NULL,
    section text NOT NULL,
    document text NOT NULL,
    durable_rev bigint NOT NULL CHECK (durable_rev > 0),
    epoch bigint NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (incarnation, section)
);
CREATE INDEX sections_document ON sections (document);

CREATE TABLE chunks (
    incarnation text NOT NULL,
    section text NOT NULL,
    first_rev bigint NOT NULL,
    last_rev bigint NOT NULL,
    document text NOT NULL,
    first_time timestamptz NOT NULL,
    last_time timestamptz NOT NULL,
    authors text[] NOT NULL,
    count integer NOT NULL,
    entries bytea NOT NULL,
    PRIMARY KEY (incarnation, section, first_rev),
    CHECK (count = last_rev - first_rev + 1)
);
-- The bytes come compressed where that helps.
ALTER TABLE chunks ALTER COLUMN entries SET STORAGE EXTERNAL;
CREATE INDEX chunks_document ON chunks (document);

CREATE TABLE snapshots (
    incarnation text NOT NULL,
    section text NOT NULL,
    rev bigint NOT NULL,
    document text NOT NULL,
    epoch bigint NOT NULL,
    next text,
    sealed text,
    content bytea NOT NULL,
    PRIMARY KEY (incarnation, section, rev)
);
ALTER TABLE snapshots ALTER COLUMN content SET STORAGE EXTERNAL;
CREATE INDEX snapshots_document ON snapshots (document);
