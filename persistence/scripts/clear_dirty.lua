-- Remove a mark if its token is unchanged.
-- KEYS: dirty hash
-- ARGV: field, token

if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then
  return 0
end
return redis.call('HDEL', KEYS[1], ARGV[1])
