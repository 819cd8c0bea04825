-- Step a section's epoch and read its whole stream and its live snapshot.
-- KEYS: meta hash, stream, live hash
-- ARGV: durable revision, durable epoch (both empty: nobody knows); for an owner that claims its section again, its epoch and a token of its own
-- Nothing for such an owner if the section has had another since; its token tells a call whose reply was lost. Nothing
-- where nobody knows what is durable and there is no live snapshot: the section may be much longer than its keys say.
-- Else returns the epoch, the head, the entries of the stream and the live snapshot. Numbers are doubles here: exact below 2^53, and written
-- with %.0f, for tostring would say 1.7e+12.

local function text(number)
  return string.format('%.0f', number)
end

local durable, durable_epoch = tonumber(ARGV[1]) or 0, tonumber(ARGV[2]) or 0
local mine, token = ARGV[3], ARGV[4]
local stored = redis.call('HMGET', KEYS[1], 'epoch', 'rev', 'tip', 'claim')
if mine and not (stored[1] and (tonumber(stored[1]) <= tonumber(mine) or stored[4] == token)) then
  return false
end
local live = redis.call('HGET', KEYS[3], 'state')
if ARGV[1] == '' and not (stored[1] and live) then
  return false
end
local revision = tonumber(stored[2] or '0')
local tip = stored[3] or '0'

-- -1: there is no stream. The last generated id survives a trim of everything, and stands in no entry then.
local last = -1
if redis.call('EXISTS', KEYS[2]) == 1 then
  local info = redis.call('XINFO', 'STREAM', KEYS[2])
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      last = tonumber(string.match(info[i + 1], '^(%d+)-'))
    end
  end
end

local head = math.max(revision, last, durable)
if durable > math.max(revision, last) then
  -- The stream lost its tail, or its keys expired: Postgres's entries count, and what is left of the stream is among
  -- them. Kept, it would have a gap in the middle.
  if last >= 0 then
    redis.call('XTRIM', KEYS[2], 'MAXLEN', 0)
  end
  tip = text(durable_epoch)
end
if last < 0 and head > 0 then
  redis.call('XADD', KEYS[2], text(head) .. '-0', 'm', '', 'e', '')
  redis.call('XDEL', KEYS[2], text(head) .. '-0')
elseif last >= 0 and last < head then
  redis.call('XSETID', KEYS[2], text(head) .. '-0')
end

local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local epoch = math.max(tonumber(stored[1] or '0') + 1, tonumber(mine or '0') + 1, now_ms, durable_epoch + 1)
redis.call('HSET', KEYS[1], 'epoch', text(epoch), 'rev', text(head), 'tip', tip, 'claim', token or '')
redis.call('PERSIST', KEYS[1])
redis.call('PERSIST', KEYS[2])
redis.call('PERSIST', KEYS[3])
-- From 1-0: a section that a split made begins with a first record under 0-1, which is no entry.
return { text(epoch), text(head), redis.call('XRANGE', KEYS[2], '1-0', '+'), live }
