-- reissue: chunks whose worker is dead, or does not run them, or whose deliveries are gone,
-- get a new delivery, at the head of pending. Deliveries of chunks that are over only end.
--
-- KEYS: see script.go.
-- ARGV: 1 lane, then for each chunk: the job's name, gen, chunk, the worker that must be its
-- owner ("" if it must have none), "1" if that worker died in it, the task ID of the delivery
-- that is over ("" for none), the new one's task ID ("" for none), and asynq's message.
-- Reply, for each chunk: "ok"; "exists", the new delivery was there; or, with the chunk
-- unchanged, "gone", "canceled", "done", "recorded", "damaged", and "busy" (another worker owns
-- it). The delivery that is over ends in all cases but "busy".

local q, d = 'asynq:{' .. ARGV[1] .. '}:', 'distpool:{' .. ARGV[1] .. '}:job:'
local t = redis.call('TIME')
local now_ns = t[1] .. string.format('%06d', t[2]) .. '000'
local replies = {}
for i = 2, #ARGV, 8 do
  local chunk, worker, old, new = ARGV[i + 2], ARGV[i + 3], ARGV[i + 5], ARGV[i + 6]
  local key = d .. ARGV[i]
  local j = redis.pcall('HMGET', key, 'reply', 'gen', 'state', 'chunks', 'own:' .. chunk, 'args:' .. chunk)
  local answer = 'ok'
  if j.err then
    answer = 'damaged'
  elseif not j[1] or (j[2] or '') ~= ARGV[i + 1] then
    answer = 'gone'
  elseif j[3] == 'canceled' or j[3] == 'done' then
    answer = j[3]
  elseif string.match(j[5] or '', '^%S*') ~= worker then
    answer = 'busy'
  elseif not j[5] and not j[6] then
    answer = 'recorded'
  elseif new ~= '' then
    if j[5] then
      redis.call('HDEL', key, 'own:' .. chunk)
      if j[4] then
        redis.pcall('HINCRBY', key, 'running', -1)
      end
    end
    if ARGV[i + 4] == '1' then
      redis.pcall('HINCRBY', key, 'lost:' .. chunk, 1)
      redis.pcall('HINCRBY', key, 'deaths', 1)
    end
    if redis.call('EXISTS', q .. 't:' .. new) == 1 then
      answer = 'exists'
    else
      asynq_enqueue(q, new, ARGV[i + 7], now_ns)
      redis.call('RPUSH', q .. 'pending', new)
    end
  end
  if old ~= '' and answer ~= 'busy' and asynq_retire(q, old) then
    asynq_unlease(q, {old})
    redis.call('DEL', q .. 't:' .. old)
  end
  replies[#replies + 1] = answer
end
return replies
