-- Write the cluster map of a view if the stored one has the view before it, and publish the new view.
-- KEYS: cluster map hash
-- ARGV: view, encoded map, notice channel
-- The same map under the same view again is a retry after a lost reply.

local stored = redis.call('HMGET', KEYS[1], 'view', 'map')
if stored[1] == ARGV[1] and stored[2] == ARGV[2] then
  return 1
end
if tonumber(stored[1] or '0') ~= tonumber(ARGV[1]) - 1 then
  return 0
end
redis.call('HSET', KEYS[1], 'view', ARGV[1], 'map', ARGV[2])
redis.call('PUBLISH', ARGV[3], ARGV[1])
return 1
