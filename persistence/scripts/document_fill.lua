-- Cache a document's row unless one is cached, and return the one that is cached then.
-- KEYS: document hash
-- ARGV: milliseconds to live; then fields and values (none: only look)
-- Not overwriting matters: a row read before a deletion must not hide the deletion, which overwrites.

local cached = redis.call('HGETALL', KEYS[1])
if #cached == 0 and #ARGV > 1 then
  for i = 2, #ARGV do
    cached[i - 1] = ARGV[i]
  end
  redis.call('HSET', KEYS[1], unpack(cached))
end
if #cached > 0 then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return cached
