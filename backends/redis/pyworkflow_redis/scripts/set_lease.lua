-- Moves or ends a lease, if it is still the caller's. Only what needs no memory is written first, so that
-- a full server lets go of leases.
-- ARGV: run, token, new end or '', channel. Answers 1 or 0.
local id, token, till = ARGV[1], ARGV[2], ARGV[3]
local _, holder = lease(id)
local row = call('GET', P .. 'r:' .. id)
if holder ~= token or not row then
  return 0
end
local _, _, wake, priority, queue = fields(row)
if till == '' then
  call('HDEL', P .. 'l', id)
else
  local _, _, owner = struct.unpack('sss', call('HGET', P .. 'l', id) .. '\0')
  hold(id, till, token, owner)
end
if wake ~= '' then
  local due = wake
  if till ~= '' then
    due = due_at(wake, till)
  end
  schedule(id, priority, queue, due)
  call('PUBLISH', ARGV[4], due)
end
return 1
