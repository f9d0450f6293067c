-- Leases due runs: of each queue by priority, then due time, then id.
-- ARGV: now, end of the lease, how many, what tokens begin with, owner; then queues, or none for all.
-- Answers run, token and row of each.
local now, till, limit, nonce, owner = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local claims, taken = {}, 0

local function due_queues()
  if not ARGV[6] then
    return call('ZRANGEBYSCORE', P .. 'q', '-inf', now, 'LIMIT', 0, limit + 15)
  end
  local named = {}
  for i = 6, #ARGV do
    named[#named + 1] = ARGV[i]
  end
  return named
end

local function take(priority, queue)
  local runs = P .. 'd:' .. priority .. ':' .. queue
  while taken < limit do
    local ids = call('ZRANGEBYSCORE', runs, '-inf', now, 'LIMIT', 0, limit - taken)
    for _, id in ipairs(ids) do
      local row = call('GET', P .. 'r:' .. id)
      if row then
        local token = nonce .. taken
        hold(id, till, token, owner)
        call('ZADD', runs, till, id)
        taken = taken + 1
        claims[#claims + 1] = id
        claims[#claims + 1] = token
        claims[#claims + 1] = row
      else
        call('ZREM', runs, id)
      end
    end
    if #ids == 0 then
      break
    end
  end
  local first = call('ZRANGE', runs, 0, 0, 'WITHSCORES')
  if first[2] then
    call('ZADD', P .. 'h:' .. queue, first[2], priority)
  else
    call('ZREM', P .. 'h:' .. queue, priority)
  end
end

local function settle(queue)
  local first = call('ZRANGE', P .. 'h:' .. queue, 0, 0, 'WITHSCORES')
  if first[2] then
    call('ZADD', P .. 'q', first[2], queue)
  else
    call('ZREM', P .. 'q', queue)
  end
end

repeat
  local queues, lines = due_queues(), {}
  local open = #queues > 0
  for place, queue in ipairs(queues) do
    for _, priority in ipairs(call('ZRANGEBYSCORE', P .. 'h:' .. queue, '-inf', now)) do
      lines[#lines + 1] = {tonumber(priority), place, priority, queue}
    end
  end
  table.sort(lines, function(a, b)
    return a[1] < b[1] or a[1] == b[1] and a[2] < b[2]
  end)
  for _, line in ipairs(lines) do
    if taken < limit then
      take(line[3], line[4])
    end
  end
  for _, queue in ipairs(queues) do
    if not ARGV[6] or #lines > 0 then
      settle(queue)
    end
  end
until ARGV[6] or taken >= limit or not open
return claims
