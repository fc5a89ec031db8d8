-- Tells the other processes what one has found out about upstreams, and the one what they have.
--
-- Invariant: what nobody says again is gone when its time is over. Moments are Redis's own, so that processes whose
-- clocks differ mean the same: they say and hear in how many milliseconds something ends.
--
-- KEYS  the board
-- ARGV  how many notes may be on the board;
--       then for each note: its name, how long it stays in ms, in how many ms what it says ends (0: it has no end), text
-- Returns for each note that is there: its name, in how many ms what it says ends, its text.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local board, notes_max = KEYS[1], tonumber(ARGV[1])

for arg = 2, #ARGV, 4 do
  local ends = tonumber(ARGV[arg + 2])
  if ends > 0 then ends = now + ends end
  redis.call('HSET', board, ARGV[arg], string.format('%.0f %.0f %s', now + ARGV[arg + 1], ends, ARGV[arg + 3]))
end

local all, answer, count = redis.call('HGETALL', board), {}, 0
for index = 1, #all, 2 do
  local gone_at, ends, text = string.match(all[index + 1], '^(%d+) (%d+) (.*)$')
  count = count + 1
  if not gone_at or tonumber(gone_at) <= now or count > notes_max then
    redis.call('HDEL', board, all[index])
  else
    answer[#answer + 1] = all[index]
    answer[#answer + 1] = math.max(0, tonumber(ends) - now)
    answer[#answer + 1] = text
  end
end
redis.call('PEXPIRE', board, 86400000)
return answer
