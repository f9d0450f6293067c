-- One stretch of a listing.
-- ARGV: how many to find, how many to look at, where to begin and to end in a listing, what to match as
-- JSON, then groups of listings: how many, and their keys without the tag. Each group by itself holds
-- all that match; the smallest is read.
-- Answers where to go on, or '' if there is no more; then run and row of each.
local limit, budget, from, upto = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4]
local query = cjson.decode(ARGV[5])

local smallest, keys
local p = 6
while ARGV[p] do
  local size, group = 0, {}
  for i = p + 1, p + tonumber(ARGV[p]) do
    group[#group + 1] = P .. ARGV[i]
    size = size + call('ZCARD', P .. ARGV[i])
  end
  if not smallest or size < smallest then
    smallest, keys = size, group
  end
  p = p + 1 + tonumber(ARGV[p])
end

-- Lua compares text by the server's locale, so this is done by bytes.
local function number(member, first)
  local a, b, c, d = string.byte(member, first, first + 3)
  return ((a * 256 + b) * 256 + c) * 256 + d
end

local function before(a, b)
  if a.high ~= b.high then
    return a.high < b.high
  elseif a.low ~= b.low then
    return a.low < b.low
  end
  for i = 9, math.min(#a.member, #b.member) do
    local x, y = string.byte(a.member, i), string.byte(b.member, i)
    if x ~= y then
      return x < y
    end
  end
  return #a.member < #b.member
end

local CHUNK = 128
local function advance(stream)
  stream.at = stream.at + 1
  if stream.at > #stream.members and stream.more then
    stream.members = call('ZRANGEBYLEX', stream.key, stream.from, upto, 'LIMIT', 0, CHUNK)
    stream.at, stream.more = 1, #stream.members == CHUNK
    stream.from = '(' .. (stream.members[#stream.members] or '')
  end
  stream.member = stream.members[stream.at]
  if stream.member then
    stream.high, stream.low = number(stream.member, 1), number(stream.member, 5)
  end
end

local streams = {}
for i, key in ipairs(keys) do
  streams[i] = {key = key, from = from, members = {}, at = 0, more = true}
  advance(streams[i])
end

local function matches(row)
  local _, _, _, _, queue, _, status, workflow, parent, attributes = fields(row)
  if query.status and not query.status[status] or query.workflow and query.workflow ~= workflow
    or query.queue and query.queue ~= queue or query.parent and query.parent ~= parent then
    return false
  end
  if query.attributes then
    local has = cjson.decode(attributes)
    for name, value in pairs(query.attributes) do
      if has[name] ~= value then
        return false
      end
    end
  end
  return true
end

local found, looked = {''}, 0
while true do
  local first
  for _, stream in ipairs(streams) do
    if stream.member and (not first or before(stream, first)) then
      first = stream
    end
  end
  if not first then
    return found
  end
  local member = first.member
  local id = string.sub(member, 9)
  local row = call('GET', P .. 'r:' .. id)
  looked = looked + 1
  if row and matches(row) then
    found[#found + 1] = id
    found[#found + 1] = row
  end
  if #found > 2 * limit or looked >= budget then
    found[1] = '(' .. member
    return found
  end
  advance(first)
end
