-- The listings that a run is in: by status always, by the others where they tell runs apart.
local function each_listing(queue, status, workflow, parent, attributes, visit)
  visit(P .. 'i:s:' .. status)
  if workflow ~= '' then
    visit(P .. 'i:w:' .. workflow)
  end
  if queue ~= 'default' then
    visit(P .. 'i:q:' .. queue)
  end
  if parent ~= '' then
    visit(P .. 'i:p:' .. parent)
  end
  if attributes ~= '{}' then
    for name, value in pairs(cjson.decode(attributes)) do
      visit(P .. 'i:a:' .. #name .. ':' .. name .. '=' .. value)
    end
  end
end

local function list(id, place, ...)
  local member = place .. id
  local arguments = {...}
  arguments[#arguments + 1] = function(key)
    call('ZADD', key, 0, member)
  end
  each_listing(unpack(arguments))
end

local function unlist(id, place, ...)
  local member = place .. id
  local arguments = {...}
  arguments[#arguments + 1] = function(key)
    call('ZREM', key, member)
  end
  each_listing(unpack(arguments))
end

local function grave(id, incarnation)
  return string.sub(redis.sha1hex(incarnation .. '\0' .. id), 1, 24)
end
