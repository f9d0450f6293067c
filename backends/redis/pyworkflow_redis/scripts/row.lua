-- What every script begins with. KEYS[1] is '{tag}:?', a key that is never there: it names the slot.
-- While a cluster moves the slot, that lacking key makes the server refuse the whole script.
local P = string.sub(KEYS[1], 1, -2)
local call = redis.call

-- head, incarnation, wake time, priority, queue, place in listings, status, workflow, parent, attributes
local function fields(row)
  return struct.unpack('sssssc8ssss', row)
end

-- Until, token.
local function lease(id)
  local held = call('HGET', P .. 'l', id)
  if held then
    return struct.unpack('ss', held)
  end
end

local function hold(id, till, token, owner)
  call('HSET', P .. 'l', id, till .. '\0' .. token .. '\0' .. owner)
end

-- When a run is due: the later of its wake time and the end of its lease.
local function due_at(wake, till)
  if till and tonumber(till) > tonumber(wake) then
    return till
  end
  return wake
end

-- Queues and priorities are known by a time not after their first run's: put here, settled by claims.
local function schedule(id, priority, queue, due)
  call('ZADD', P .. 'd:' .. priority .. ':' .. queue, due, id)
  call('ZADD', P .. 'h:' .. queue, 'LT', due, priority)
  call('ZADD', P .. 'q', 'LT', due, queue)
end

local function unschedule(id, priority, queue)
  call('ZREM', P .. 'd:' .. priority .. ':' .. queue, id)
end
