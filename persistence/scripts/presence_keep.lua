-- Let the presences of some clients live on.
-- KEYS: hash of states, sorted set of their ends
-- ARGV: milliseconds to live, clients
-- Returns those of the clients that have no state here any more. Time is the server's.

local ttl = tonumber(ARGV[1])
local time = redis.call('TIME')
local ends = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) + ttl)
local missing = {}
for i = 2, #ARGV do
  if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 1 then
    redis.call('ZADD', KEYS[2], ends, ARGV[i])
  else
    missing[#missing + 1] = ARGV[i]
  end
end
for _, key in ipairs(KEYS) do
  if redis.call('PTTL', key) < ttl then
    redis.call('PEXPIRE', key, ARGV[1])
  end
end
return missing
