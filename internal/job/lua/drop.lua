-- drop: removes from records what nothing needs any more. The counts of jobs stay.
--
-- KEYS: see script.go.
-- ARGV: 1 lane, then for each entry: what, the job's name, gen, and two words more:
--   "outcomes"   the chunk, and its place (the N of order:N): the stream has them
--   "arguments"  the chunk, and "": nothing of its job is run, if that was canceled
--   "frame"      a piece of a large frame, and "": it goes unless it is the job's. gen is not looked at
--   "record"     "" and "": all of a job of many chunks, if its time to live is over, see live.lua. Nor here
-- Reply: how many of them removed something.

local prefix = 'distpool:{' .. ARGV[1] .. '}:'
local dropped, known, j = 0, nil, nil

local function consume(key, name, chunk, place, large)
  local out, kept = 'out:' .. chunk, 'kept:' .. chunk
  local size = redis.call('HSTRLEN', key, kept)
  if large then
    local both = redis.call('HMGET', key, out, kept)
    frame_drop(prefix, name, both[1])
    frame_drop(prefix, name, both[2])
    size = tonumber(string.match(both[2] or '', '^@ %w+ (%d+)$') or size)
  end
  local removed = redis.call('HDEL', key, out)
  redis.call('HDEL', key, kept, 'order:' .. place)
  if size > 0 then
    redis.call('HINCRBY', key, 'kept', 0 - size)
  end
  if removed > 0 then
    redis.call('HINCRBY', key, 'consumed', removed)
  end
  return removed
end

for i = 2, #ARGV, 5 do
  local what, name, of = ARGV[i], ARGV[i + 1], ARGV[i + 3]
  local key = prefix .. 'job:' .. name
  if what == 'frame' then
    if redis.call('SISMEMBER', prefix .. 'frames:' .. name, of) == 0 then
      dropped = dropped + redis.call('UNLINK', prefix .. 'frame:' .. name .. ':' .. of)
    end
  elseif what == 'record' then
    local left = redis.call('PTTL', key)
    if left ~= -1 and left <= later then
      dropped = dropped + redis.call('UNLINK', key)
      redis.call('SREM', prefix .. 'large', name)
    end
  else
    if name ~= known then
      known, j = name, redis.pcall('HMGET', key, 'reply', 'gen', 'state', 'frames')
    end
    if j.err and what == 'outcomes' then
      return j
    elseif j.err or not j[1] or (j[2] or '') ~= ARGV[i + 2] then
      -- nothing of it is there
    elseif what == 'outcomes' then
      dropped = dropped + consume(key, name, of, ARGV[i + 4], j[4])
    elseif j[3] == 'canceled' then
      if j[4] then
        frame_drop(prefix, name, redis.call('HGET', key, 'args:' .. of))
      end
      dropped = dropped + redis.call('HDEL', key, 'args:' .. of)
    end
  end
end
return dropped
