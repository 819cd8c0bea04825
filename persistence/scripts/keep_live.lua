-- Keep a section's live snapshot in place of the one before, or none.
-- KEYS: meta hash, live hash
-- ARGV: epoch of the owner; the snapshot's revision and its bytes, or nothing
-- Only the owner of the present epoch may, only up to where the log goes, and never an older one than there is: what it
-- says is committed, and the entries behind it are in the stream.

local stored = redis.call('HMGET', KEYS[1], 'epoch', 'rev')
if not stored[1] or tonumber(stored[1]) ~= tonumber(ARGV[1]) then
  return 0
end
if not ARGV[2] then
  redis.call('DEL', KEYS[2])
  return 1
end
local revision = tonumber(ARGV[2])
if revision > tonumber(stored[2]) or revision < tonumber(redis.call('HGET', KEYS[2], 'rev') or '0') then
  return 0
end
redis.call('HSET', KEYS[2], 'rev', ARGV[2], 'state', ARGV[3])
return 1
