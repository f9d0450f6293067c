-- Many appends, each all or nothing. Everything is looked at first and written then, because an
-- error undoes nothing.
-- ARGV: number of appends, whether there is a feed, whether to write in any case, the channel; then of each
-- append: run, expected, incarnation, number of events, token, owner and end of the lease, row, events.
-- Answers of each: 1 if it was written; 'damaged'; or the head, and what is there at the append's positions.
local count, feed, touch, channel = tonumber(ARGV[1]), ARGV[2] == '1', ARGV[3] == '1', ARGV[4]
local answers, plan, p = {}, {}, 5
for k = 1, count do
  local id, expected, incarnation, events = ARGV[p], ARGV[p + 1], ARGV[p + 2], tonumber(ARGV[p + 3])
  local row = call('GET', P .. 'r:' .. id)
  local head, own = '0', false
  if row then
    local its
    head, its = struct.unpack('ss', row)
    own = its == incarnation
  end
  if call('LLEN', P .. 'e:' .. id) ~= tonumber(head) then
    answers[k] = 'damaged'
  elseif head == expected
    and (own or not row and not call('ZSCORE', P .. 'g', grave(id, incarnation))) then
    answers[k] = 1
    plan[#plan + 1] = {p, row}
  else
    local there = {}
    if own and tonumber(expected) < tonumber(head) then
      there = call('LRANGE', P .. 'e:' .. id, expected, tonumber(expected) + events - 1)
    end
    table.insert(there, 1, head)
    answers[k] = there
  end
  p = p + 8 + events
end

local wrote, soonest = false, nil

local function write(p, row)
  local id, events, token, till = ARGV[p], tonumber(ARGV[p + 3]), ARGV[p + 4], ARGV[p + 6]
  local last = p + 7 + events
  for i = p + 8, last, 1000 do
    call('RPUSH', P .. 'e:' .. id, unpack(ARGV, i, math.min(i + 999, last)))
    wrote = true
  end
  call('SET', P .. 'r:' .. id, ARGV[p + 7])
  local _, _, wake, priority, queue, place, status, workflow, parent, attributes = fields(ARGV[p + 7])
  local changed = not row
  if row then
    local _, _, wake0, priority0, queue0, place0, status0, workflow0, parent0, attributes0 = fields(row)
    if status ~= status0 or workflow ~= workflow0 or queue ~= queue0 or parent ~= parent0
      or attributes ~= attributes0 or place ~= place0 then
      unlist(id, place0, queue0, status0, workflow0, parent0, attributes0)
      list(id, place, queue, status, workflow, parent, attributes)
    end
    if wake ~= wake0 or priority ~= priority0 or queue ~= queue0 then
      changed = true
      if wake0 ~= '' then
        unschedule(id, priority0, queue0)
      end
    end
  else
    list(id, place, queue, status, workflow, parent, attributes)
  end
  if token ~= '' then
    local _, holder = lease(id)
    if not holder or holder == token then
      changed = true
      if till ~= '' then
        hold(id, till, token, ARGV[p + 5])
      elseif holder then
        call('HDEL', P .. 'l', id)
      end
    end
  end
  if changed and wake ~= '' then
    local due = due_at(wake, (lease(id)))
    schedule(id, priority, queue, due)
    if not soonest or tonumber(due) < tonumber(soonest) then
      soonest = due
    end
  end
  if feed then
    call('RPUSH', P .. 'f', ARGV[p + 1] .. ' ' .. ARGV[p + 3] .. ' ' .. ARGV[p + 2] .. '\0' .. id)
  end
end

local function write_all()
  for _, planned in ipairs(plan) do
    write(planned[1], planned[2])
  end
  if touch and #plan == 0 then
    call('SET', P .. 't', '')
  end
  if soonest then
    call('PUBLISH', channel, soonest)
  end
end

local done, problem = pcall(write_all)
if not done then
  problem = type(problem) == 'table' and problem.err or tostring(problem)
  return redis.error_reply((wrote and 'HALFWAY ' or 'UNWRITTEN ') .. problem)
end
return answers
