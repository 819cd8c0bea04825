"""The statements of the long-term store."""

from typing import Final

KEPT_SNAPSHOTS: Final = 3

# An id is used once: one that was deleted is not taken again. Of two that create it at once, the index lets one pass.
CREATE_DOCUMENT: Final = """
INSERT INTO documents (id, incarnation, organisation, created_by, created_at)
SELECT $1::text, $2::text, $3::text, $4::text, $5::timestamptz
WHERE NOT EXISTS (SELECT FROM documents WHERE id = $1)
ON CONFLICT DO NOTHING
"""

DOCUMENT: Final = """
SELECT id, incarnation, organisation, created_by, created_at, deleted_at FROM documents
WHERE id = $1 ORDER BY (deleted_at IS NULL) DESC, created_at DESC LIMIT 1
"""

DELETE_DOCUMENT: Final = "UPDATE documents SET deleted_at = $2 WHERE id = $1 AND deleted_at IS NULL"

DURABLE: Final = "SELECT durable_rev, epoch FROM sections WHERE incarnation = $1 AND section = $2"

# One statement is one transaction: the comparison, which locks the section's row, and the chunk, or neither. Nothing is
# stored of a section before its first entry, so there the row is made, if it is not there.
# $1 incarnation, $2 section, $3 document, $4 first revision, $5 last, $6 epoch of the first, $7 of the last,
# $8 time of the first, $9 of the last, $10 authors, $11 count, $12 entries
FLUSH: Final = """
WITH made AS (
    INSERT INTO sections (incarnation, section, document, durable_rev, epoch, updated_at)
    SELECT $1::text, $2::text, $3::text, $5::bigint, $7::bigint, now() WHERE $4::bigint = 1
    ON CONFLICT DO NOTHING
    RETURNING 1
), advanced AS (
    UPDATE sections SET durable_rev = $5::bigint, epoch = $7::bigint, updated_at = now()
    WHERE incarnation = $1::text AND section = $2::text AND durable_rev = $4::bigint - 1 AND epoch <= $6::bigint
    RETURNING 1
)
INSERT INTO chunks (incarnation, section, document, first_rev, last_rev,
                    first_time, last_time, authors, count, entries)
SELECT $1::text, $2::text, $3::text, $4::bigint, $5::bigint,
       $8::timestamptz, $9::timestamptz, $10::text[], $11::integer, $12::bytea
FROM (SELECT FROM made UNION ALL SELECT FROM advanced) AS claimed
"""

# From the chunk that holds revision $3 + 1, found by the key: a condition on last_rev would read all before it.
CHUNKS: Final = """
SELECT first_rev, entries FROM chunks
WHERE incarnation = $1 AND section = $2 AND first_rev <= $4 AND first_rev >= coalesce((
    SELECT max(first_rev) FROM chunks WHERE incarnation = $1 AND section = $2 AND first_rev <= $3::bigint + 1
), 0)
ORDER BY first_rev
"""

SAVE_SNAPSHOT: Final = """
INSERT INTO snapshots (incarnation, section, rev, document, epoch, next, sealed, content)
SELECT $1::text, $2::text, $3::bigint, $4::text, $5::bigint, $6::text, $7::text, $8::bytea
WHERE NOT EXISTS (SELECT FROM snapshots WHERE incarnation = $1 AND section = $2 AND rev > $3)
ON CONFLICT (incarnation, section, rev) DO UPDATE
SET epoch = excluded.epoch, next = excluded.next, sealed = excluded.sealed, content = excluded.content
"""

DROP_SNAPSHOTS: Final = """
DELETE FROM snapshots WHERE incarnation = $1 AND section = $2 AND rev < (
    SELECT min(rev) FROM (
        SELECT rev FROM snapshots WHERE incarnation = $1 AND section = $2 ORDER BY rev DESC LIMIT $3
    ) AS newest
)
"""

SNAPSHOTS: Final = """
SELECT rev, epoch, next, sealed, content FROM snapshots
WHERE incarnation = $1 AND section = $2 ORDER BY rev DESC
"""
