-- Overwrite the cached row of a document.
-- KEYS: document hash
-- ARGV: milliseconds to live; then fields and values

redis.call('DEL', KEYS[1])
for i = 2, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
