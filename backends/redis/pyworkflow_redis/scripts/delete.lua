-- Removes a run.
-- ARGV: run, expected head, the present second, how many seconds graves are kept.
-- Answers 1 if it is gone, or its head if that is another one.
local id, expected, now, keep = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local row = call('GET', P .. 'r:' .. id)
if not row then
  return 1
end
local head, incarnation, wake, priority, queue, place, status, workflow, parent, attributes = fields(row)
if head ~= expected then
  return head
end
-- What frees memory comes first, so that it can be done on a full server.
call('UNLINK', P .. 'e:' .. id, P .. 'r:' .. id)
call('HDEL', P .. 'l', id)
if wake ~= '' then
  unschedule(id, priority, queue)
end
unlist(id, place, queue, status, workflow, parent, attributes)
call('ZREMRANGEBYSCORE', P .. 'g', '-inf', tonumber(now) - tonumber(keep))
call('ZADD', P .. 'g', now, grave(id, incarnation))
-- The feed forgets its beginning as the runs in it go.
for _ = 1, 100 do
  local entry = call('LINDEX', P .. 'f', 0)
  if not entry then
    break
  end
  local its, run = string.match(entry, '^%d+ %d+ ([^%z]*)%z(.*)$')
  local there = call('GET', P .. 'r:' .. run)
  if there then
    local _, lives = struct.unpack('ss', there)
    if lives == its then
      break
    end
  end
  call('LPOP', P .. 'f')
  call('INCR', P .. 'fb')
end
return 1
