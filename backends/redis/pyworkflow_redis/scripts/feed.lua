-- The next events of a bucket's feed.
-- ARGV: entry and event within it to begin at, how many events, how many entries to look at.
-- Answers entry and event to go on at, whether more follow, then of each stretch: run, first sequence - 1,
-- events. Nothing, if the feed has never been that long.
local entry, event, limit, budget = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local gone = tonumber(call('GET', P .. 'fb') or '0')
local size = gone + call('LLEN', P .. 'f')
if entry > size then
  return false
end
if entry < gone then
  entry, event = gone, 0 -- what was before is of runs that were deleted
end
local found, taken, looked = {entry, event, 0}, 0, 0
while entry < size and taken < limit and looked < budget do
  for _, text in ipairs(call('LRANGE', P .. 'f', entry - gone, entry - gone + 31)) do
    local expected, count, incarnation, id = string.match(text, '^(%d+) (%d+) ([^%z]*)%z(.*)$')
    local row = call('GET', P .. 'r:' .. id)
    local own = false
    if row then
      local _, its = struct.unpack('ss', row)
      own = its == incarnation
    end
    looked = looked + 1
    local left = tonumber(count) - event
    if own and left > 0 then
      local after = tonumber(expected) + event
      local take = math.min(left, limit - taken)
      found[#found + 1] = id
      found[#found + 1] = after
      found[#found + 1] = call('LRANGE', P .. 'e:' .. id, after, after + take - 1)
      taken = taken + take
      event = event + take
      left = left - take
    else
      left = 0
    end
    if left > 0 then
      break
    end
    entry, event = entry + 1, 0
    if taken >= limit or looked >= budget then
      break
    end
  end
end
found[1], found[2], found[3] = entry, event, entry < size and 1 or 0
return found
