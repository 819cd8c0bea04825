-- Let a section's keys expire, if everything in its log is durable and the epoch is still the caller's.
-- KEYS: meta hash, stream
-- ARGV: durable revision, the caller's epoch, milliseconds until they expire
-- The epoch is stepped: an owner that does not know that it was released can append nothing to keys that are about to
-- vanish. PEXPIRE of both at one frozen script time: neither outlives the other.

local stored = redis.call('HMGET', KEYS[1], 'epoch', 'rev')
if not stored[1] or tonumber(stored[1]) ~= tonumber(ARGV[2]) or tonumber(stored[2]) ~= tonumber(ARGV[1]) then
  return 0
end
redis.call('HSET', KEYS[1], 'epoch', string.format('%.0f', tonumber(stored[1]) + 1))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return 1
