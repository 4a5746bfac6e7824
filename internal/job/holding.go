package job

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/asynqfmt"
	"github.com/distpool/distpool/internal/names"
)

// Holding says how a chunk stands.
type Holding struct {
	Waits bool      // it has no outcomes yet, and its job is not over
	Lives bool      // its job is not over
	Owner string    // the worker that runs it; empty: none does
	Since time.Time // when that worker took it, by the clock of Redis
	Task  string    // its task; empty where the job does not exist or does not parse
}

// Holdings reads how chunks of one lane stand. A record that is damaged holds nothing.
func Holdings(ctx context.Context, c redis.Cmdable, lane string, chunks []Delivery) ([]Holding, error) {
	cmds, args := make([]*redis.SliceCmd, len(chunks)), make([]*redis.BoolCmd, len(chunks))
	_, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, d := range chunks {
			n := strconv.Itoa(d.Chunk)
			cmds[i] = p.HMGet(ctx, Key(lane, d.Name), "about", "gen", "state", "own:"+n)
			args[i] = p.HExists(ctx, Key(lane, d.Name), "args:"+n) // they may be long
		}
		return nil
	})
	if err != nil && !IsDamaged(err) {
		return nil, err
	}
	all := make([]Holding, len(chunks))
	for i, cmd := range cmds {
		reply, err := cmd.Result()
		if err != nil {
			if !IsDamaged(err) {
				return nil, err
			}
			continue
		}
		if err := args[i].Err(); err != nil {
			return nil, err
		}
		all[i] = holding(chunks[i].Gen, reply, args[i].Val())
	}
	return all, nil
}

func holding(gen string, reply []any, args bool) Holding {
	text := func(i int) string { s, _ := reply[i].(string); return s }
	about, err := ParseAbout(text(0))
	if err != nil || text(1) != gen {
		return Holding{}
	}
	state := State(text(2))
	h := Holding{Task: about.Task, Lives: state == "" || state == Open}
	h.Waits = h.Lives
	var since int64
	if h.Owner, since, _ = parseOwner(text(3)); h.Owner == "" && !args {
		h.Waits = false // it has its outcomes, or the job is damaged
	}
	if since > 0 {
		h.Since = time.UnixMilli(since)
	}
	return h
}

// Lost reports which of the chunks have neither arguments, nor an owner, nor outcomes that a stream
// may not have consumed: their jobs cannot end. It is for chunks of jobs that live.
func Lost(ctx context.Context, c redis.Cmdable, lane string, chunks []Delivery) ([]bool, error) {
	there := make([][]*redis.BoolCmd, len(chunks))
	_, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, d := range chunks {
			n := strconv.Itoa(d.Chunk)
			// In this order: outcomes may be recorded and consumed meanwhile.
			for _, field := range []string{"args:" + n, "own:" + n, "out:" + n, "consumed", "about"} {
				there[i] = append(there[i], p.HExists(ctx, Key(lane, d.Name), field))
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	lost := make([]bool, len(chunks))
	for i, cmds := range there {
		lost[i] = cmds[4].Val() && !cmds[0].Val() && !cmds[1].Val() && !cmds[2].Val() && !cmds[3].Val()
	}
	return lost, nil
}

// Active lists the deliveries of a lane that workers have taken, the oldest last.
func Active(ctx context.Context, c redis.Cmdable, lane string) ([]string, error) {
	return c.LRange(ctx, asynqfmt.ActiveKey(lane), 0, -1).Result()
}

// Archived lists n archived deliveries of a lane, from the newest on, and skips the first ones.
func Archived(ctx context.Context, c redis.Cmdable, lane string, skip, n int) ([]string, error) {
	return c.ZRevRange(ctx, asynqfmt.ArchivedKey(lane), int64(skip), int64(skip+n-1)).Result()
}

// OldestArchived lists n archived deliveries of a lane, from the oldest on.
func OldestArchived(ctx context.Context, c redis.Cmdable, lane string, n int) ([]string, error) {
	return c.ZRange(ctx, asynqfmt.ArchivedKey(lane), 0, int64(n-1)).Result()
}

// MaxTrimmed is the number of deliveries that one TrimArchive removes at the most.
const MaxTrimmed = 500

// TrimArchive removes archived deliveries of a lane that are older than the given age, and
// the oldest ones beyond the given number; up to MaxTrimmed. It returns how many it removed.
func TrimArchive(ctx context.Context, c redis.Scripter, lane string, keep int, age time.Duration, now time.Time) (int, error) {
	return run(ctx, c, trimScript, lane, []any{lane, keep, now.Add(-age).Unix(), MaxTrimmed}).Int()
}

// asynq's own time limits and retries must never end a delivery: the record decides.
const (
	asynqTimeout = 10 * 365 * 24 * time.Hour
	asynqRetries = 10000
)

// Payload is the payload of a delivery: it tells people, and programs that know no more of the
// task, which chunk it runs.
func Payload(lane string, d Delivery) []byte {
	return []byte(payloadOf(QueueOf(lane)) + d.Name + `","chunk":` + strconv.Itoa(d.Chunk) + "}")
}

// Message is asynq's message of a delivery. errText is the error of its last run, at failed;
// empty: there was none.
func Message(lane, task string, d Delivery, errText string, failed time.Time) []byte {
	m := asynqfmt.Message{
		Type: task, ID: d.TaskID(), Queue: lane, Retry: asynqRetries, Timeout: int64(asynqTimeout.Seconds()),
		Payload: Payload(lane, d), Error: errText,
	}
	if errText != "" {
		m.LastFailed = failed.Unix()
	}
	return m.Append(nil)
}

// payloadOf is how the payloads of the deliveries of a queue begin, up to the job's name. Neither
// of the two names needs quoting.
func payloadOf(queue string) string { return `{"job":"` + names.Address{Queue: queue}.String() }
