-- Whether something is due: 1 or 0. ARGV: now; then queues, or none for all.
if not ARGV[2] then
  return math.min(1, call('ZCOUNT', P .. 'q', '-inf', ARGV[1]))
end
for i = 2, #ARGV do
  if call('ZCOUNT', P .. 'h:' .. ARGV[i], '-inf', ARGV[1]) > 0 then
    return 1
  end
end
return 0
