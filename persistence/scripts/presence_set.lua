-- Set or remove one client's presence and publish it; forget those whose time is over.
-- KEYS: hash of states, sorted set of their ends
-- ARGV: client, 1 and the state (0 and anything: leave), milliseconds to live, channel, message
-- Returns the clients that were forgotten, at most a hundred. Time is the server's, so routers' clocks do not matter.

local LIMIT = 100
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local gone = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now), 'LIMIT', 0, LIMIT)
for _, client in ipairs(gone) do
  redis.call('HDEL', KEYS[1], client)
  redis.call('ZREM', KEYS[2], client)
end

if ARGV[2] == '1' then
  local ttl = tonumber(ARGV[4])
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
  redis.call('ZADD', KEYS[2], string.format('%.0f', now + ttl), ARGV[1])
  -- The keys live as long as the longest state in them.
  for _, key in ipairs(KEYS) do
    if redis.call('PTTL', key) < ttl then
      redis.call('PEXPIRE', key, ARGV[4])
    end
  end
else
  redis.call('HDEL', KEYS[1], ARGV[1])
  redis.call('ZREM', KEYS[2], ARGV[1])
end
redis.call('PUBLISH', ARGV[5], ARGV[6])
return gone
