-- Note up to where replicas have the log, and publish the batch that leads there, once.
-- KEYS: meta hash
-- ARGV: revision; epoch of its entry (empty: the newest entry's); channel and published (empty: nothing is published)
-- Who reads the stream stops at what is noted, so nobody sees an entry that a failover could lose.

if tonumber(ARGV[1]) <= tonumber(redis.call('HGET', KEYS[1], 'published') or '-1') then
  return 0
end
local epoch = ARGV[2]
if epoch == '' then
  epoch = redis.call('HGET', KEYS[1], 'tip') or '0'
end
redis.call('HSET', KEYS[1], 'published', ARGV[1], 'published_epoch', epoch)
if ARGV[3] ~= '' then
  redis.call('PUBLISH', ARGV[3], ARGV[4])
end
return 1
