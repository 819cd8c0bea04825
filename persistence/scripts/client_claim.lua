-- The user to whom a client id belongs: the first who comes, until it was not used for long.
-- KEYS: owner
-- ARGV: user, milliseconds to live

local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then
  return owner
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]
