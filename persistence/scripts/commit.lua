-- Append a batch to a section's stream and publish it, or say why not.
-- KEYS: meta hash, stream
-- ARGV: epoch, batch id, base, last, epoch of the last entry, channel (empty: it is published later, by publish.lua),
-- published; then `m` and `e` of each entry
-- Lua does not roll back: every check stands before the first write.

local stored = redis.call('HMGET', KEYS[1], 'epoch', 'rev', 'batch')
if not stored[1] then
  return 'FENCED'
end
local epoch, revision = tonumber(stored[1]), tonumber(stored[2])
local mine, base, last = tonumber(ARGV[1]), tonumber(ARGV[3]), tonumber(ARGV[4])
if epoch > mine then
  return 'FENCED'
end
if stored[3] == ARGV[2] and revision >= last then
  return 'DUP'
end
if epoch < mine or revision < base then
  return 'LOST'
end
if revision > base then
  return 'AHEAD'
end
-- Activation makes the stream with its last id, so a stream that is missing was taken away behind our back. A new one
-- would begin after a hole.
if base > 0 and redis.call('EXISTS', KEYS[2]) == 0 then
  return 'FENCED'
end

local first = redis.pcall('XADD', KEYS[2], string.format('%.0f-0', base + 1), 'm', ARGV[8], 'e', ARGV[9])
if type(first) == 'table' and first.err then
  -- Nothing is written yet. An id that is too small means that the stream goes beyond what the hash says.
  if string.find(first.err, 'equal or smaller', 1, true) then
    return 'AHEAD'
  end
  return first
end
local revision_of = base + 1
for i = 10, #ARGV, 2 do
  revision_of = revision_of + 1
  redis.call('XADD', KEYS[2], string.format('%.0f-0', revision_of), 'm', ARGV[i], 'e', ARGV[i + 1])
end
redis.call('HSET', KEYS[1], 'rev', ARGV[4], 'batch', ARGV[2], 'tip', ARGV[5])
if ARGV[6] ~= '' then
  redis.call('PUBLISH', ARGV[6], ARGV[7])
end
return 'OK'
