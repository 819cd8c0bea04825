-- What one router says of itself; what all that are here have said is the answer.
-- KEYS: hash
-- ARGV: router, what it says (empty: it leaves), milliseconds for which that holds
-- Returns router, what it says, … . Each field has the time of the server, until which it holds, before its value.

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local ttl = tonumber(ARGV[3])
if ARGV[2] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', now + ttl) .. ':' .. ARGV[2])
  redis.call('PEXPIRE', KEYS[1], ttl)
end
local found = {}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local colon = string.find(all[i + 1], ':', 1, true)
  if tonumber(string.sub(all[i + 1], 1, colon - 1)) > now then
    found[#found + 1] = all[i]
    found[#found + 1] = string.sub(all[i + 1], colon + 1)
  else
    redis.call('HDEL', KEYS[1], all[i])
  end
end
return found
