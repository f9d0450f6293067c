-- Leases one run, if it is due.
-- ARGV: now, end of the lease, run, token, owner; then queues, or none for all.
-- Answers its row, or nothing.
local now, till, id, token, owner = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local row = call('GET', P .. 'r:' .. id)
if not row then
  return false
end
local _, _, wake, priority, queue = fields(row)
if wake == '' or tonumber(due_at(wake, (lease(id)))) > tonumber(now) then
  return false
end
local wanted = not ARGV[6]
for i = 6, #ARGV do
  wanted = wanted or ARGV[i] == queue
end
if not wanted then
  return false
end
hold(id, till, token, owner)
schedule(id, priority, queue, due_at(wake, till))
return row
