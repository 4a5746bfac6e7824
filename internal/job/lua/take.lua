-- take: moves deliveries from pending to active, and says of each whether its chunk may
-- run. The worker becomes the owner of those that may.
--
-- KEYS: see script.go.
-- ARGV: 1 lane, 2 worker, 3 how many deliveries at the most, 4 when their leases end (Unix,
-- s), 5 how many bytes of arguments at the most (the first chunk may have more), 6 the date
-- (YYYY-MM-DD, UTC), 7 when that day's counters go (Unix, s), 8 how many workers may die in a
-- chunk before a call of it is given up ("0": chunks that are to run alone are begun, too), 9 "1"
-- if the worker wants to know how long deliveries waited, else "", 10 "1" if an asynq.Server has
-- taken the deliveries and ends them itself: then none leaves active here; else "", then the task
-- IDs of deliveries that BLMOVE, or that server, has moved to active already.
-- Reply, an array for each delivery: its task ID, a verdict, and where there is a job, about:
--   "run", about, calls of the job, arguments, how many workers died in the chunk, what a
--     checkpoint saved ("" for nothing), how long the delivery was pending (ms; -1: not known)
--   "alone"     the next death would give a call of it up: it runs beside no other. The worker is
--               not its owner: it takes the delivery again, by its ID, when nothing else runs
--   "late"      its job had to begin before now: expire ends it
--   "missing"   its arguments are not there, and neither is an outcome: the job is damaged
--   "paused"    BLMOVE has moved it although the queue is paused: it is in pending again
--   "damaged"   its job is not readable, or it is no delivery of distpool
-- and these, of which the delivery has ended:
--   "recorded"  its chunk has its outcomes
--   "ended", "gone"   so is its job
--   "busy"      a worker runs its chunk by another delivery
--   "stale"     it was issued again
-- and this one, which stays in active for supervision to find:
--   "held"      a worker has its chunk, by a delivery that is not in active: asynq's recoverer
--               takes deliveries away whose lease is over

local q, d = 'asynq:{' .. ARGV[1] .. '}:', 'distpool:{' .. ARGV[1] .. '}:job:'
local room = tonumber(ARGV[5])
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local now_ms = string.format('%.0f', now) -- Lua is slow when it has to make a number a string
local n, budget = tonumber(ARGV[3]), tonumber(ARGV[8])
local ids = n > 0 and asynq_pop(q, n, ARGV[4]) or {}
local back, over, replies, moved, paused, hosted = {}, {}, {}, {}, false, ARGV[10] ~= ''

if ARGV[11] then
  paused = not hosted and redis.call('EXISTS', q .. 'paused') == 1
  for i = 11, #ARGV do
    local state = redis.call('HGET', q .. 't:' .. ARGV[i], 'state')
    if state and (state == 'active' or not hosted) then
      redis.call('ZADD', q .. 'lease', ARGV[4], ARGV[i])
      table.insert(ids, 1, ARGV[i])
      moved[ARGV[i]] = true
    else -- supervision has issued it again meanwhile, or its job was withdrawn
      over[#over + 1] = ARGV[i]
      replies[#replies + 1] = {ARGV[i], 'stale'}
    end
  end
end

local chunk, args_of, own_of, lost_of, part_of
for i = 1, #ids do
  local id = ids[i]
  if room <= 0 then
    back[#back + 1] = id
  else
    local name, gen, of, number = string.match(id, '^([%w._-]+)~?(%w*):(%d+):(%d+)$')
    if of and of ~= chunk then
      chunk, args_of, own_of, lost_of, part_of = of, 'args:' .. of, 'own:' .. of, 'lost:' .. of, 'part:' .. of
    end
    local key = d .. (name or '')
    local j = name and redis.pcall('HMGET', key, 'about', 'gen', 'state', 'expires', 'calls', 'chunks',
      args_of, own_of, lost_of, part_of)
    local args, ended = j and j[7], nil
    local worker, by
    if j and j[8] then
      worker, by = string.match(j[8], '^(%S+) %d+ (%d+)$')
    end
    if not j then
      replies[#replies + 1] = {id, 'damaged'}
    elseif j.err then
      if string.find(j.err, 'WRONGTYPE', 1, true) then
        replies[#replies + 1] = {id, 'damaged'}
      else
        back[#back + 1] = id
      end
    elseif not j[1] or (j[2] or '') ~= gen then
      ended = 'gone'
    elseif j[3] == 'done' or j[3] == 'canceled' then
      ended = 'ended'
    elseif j[8] and by == number and worker == ARGV[2] and moved[id] and args then
      replies[#replies + 1] = {id, 'run', j[1], j[5] or '1', args, j[9] or '0', j[10] or '', -1} -- this reply was lost
    elseif j[8] then
      local its = string.match(id, '^(.*:)%d+$') .. (by or '')
      if by ~= number and redis.call('HGET', q .. 't:' .. its, 'state') == 'active' then
        ended = 'busy'
      else
        redis.call('HSET', q .. 't:' .. id, 'state', 'active')
        replies[#replies + 1] = {id, 'held', j[1]}
      end
    elseif paused and moved[id] then
      back[#back + 1] = id
      replies[#replies + 1] = {id, 'paused'}
    elseif not args then
      -- Recorded; or consumed, which is counted in the job; or damaged.
      if redis.call('HEXISTS', key, 'out:' .. chunk) == 1 or redis.call('HEXISTS', key, 'consumed') == 1 then
        ended = 'recorded'
      else
        replies[#replies + 1] = {id, 'missing', j[1]}
      end
    elseif not counts(j[4]) or j[3] and j[3] ~= 'open' then
      replies[#replies + 1] = {id, 'damaged', j[1]}
    elseif j[4] and tonumber(j[4]) <= now then
      replies[#replies + 1] = {id, 'late', j[1]}
    elseif j[9] and budget > 0 and (tonumber(j[9]) or 0) % budget == budget - 1 then
      redis.call('HSET', q .. 't:' .. id, 'state', 'active')
      replies[#replies + 1] = {id, 'alone', j[1]}
    else
      if j[4] then
        redis.call('HDEL', key, 'expires') -- it has begun
      end
      if j[6] then
        redis.pcall('HINCRBY', key, 'running', 1) -- for people only
      end
      local waited = -1
      if ARGV[9] ~= '' then
        local since = redis.call('HGET', q .. 't:' .. id, 'pending_since')
        waited = since and now - math.floor((tonumber(since) or 0) / 1000000) or -1
      end
      redis.call('HSET', key, own_of, ARGV[2] .. ' ' .. now_ms .. ' ' .. number)
      redis.call('HSET', q .. 't:' .. id, 'state', 'active')
      room = room - #args
      replies[#replies + 1] = {id, 'run', j[1], j[5] or '1', args, j[9] or '0', j[10] or '', waited}
    end
    if ended then
      over[#over + 1] = id
      replies[#replies + 1] = {id, ended, j[1]}
    end
  end
end

if not hosted then
  asynq_unpop(q, back)
  asynq_unlease(q, over)
  for i = 1, #over do
    asynq_retire(q, over[i])
  end
  asynq_delete(q, over, ARGV[6], ARGV[7])
end
return replies
