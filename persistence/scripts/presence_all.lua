-- Every client and its state, without those whose time is over.
-- KEYS: hash of states, sorted set of their ends

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local found = {}
for _, client in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], string.format('(%.0f', now), '+inf')) do
  local state = redis.call('HGET', KEYS[1], client)
  if state then
    found[#found + 1] = client
    found[#found + 1] = state
  end
end
return found
