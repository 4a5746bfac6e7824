-- Notes a slow call, "MS CALL WORKER", among the ten slowest of the job, one for each
-- chunk: lines of the field slow, slowest first.
local function note_slow(key, line)
  local ms = tonumber(string.match(line, '^%d+'))
  local lines, at = {}, 1
  for was in string.gmatch(redis.call('HGET', key, 'slow') or '', '[^\n]+') do
    lines[#lines + 1] = was
    if tonumber(string.match(was, '^%d+') or 0) >= ms then
      at = #lines + 1
    end
  end
  if at <= 10 then
    table.insert(lines, at, line)
    lines[11] = nil
    redis.call('HSET', key, 'slow', table.concat(lines, '\n'))
  end
end
