-- Let a section's keys expire, if its log is still in the state that the caller knows to be in Postgres.
-- KEYS: meta hash, stream, live hash
-- ARGV: epoch of the owner, last revision, milliseconds until they expire
-- The epoch is stepped: an owner that does not know that it was released can append nothing to keys that are about to
-- vanish. PEXPIRE of all at one frozen script time: none outlives another.

local stored = redis.call('HMGET', KEYS[1], 'epoch', 'rev')
if not stored[1] or tonumber(stored[1]) ~= tonumber(ARGV[1]) or tonumber(stored[2]) ~= tonumber(ARGV[2]) then
  return 0
end
redis.call('HSET', KEYS[1], 'epoch', string.format('%.0f', tonumber(stored[1]) + 1))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
redis.call('PEXPIRE', KEYS[3], ARGV[3])
return 1
