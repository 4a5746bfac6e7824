package job

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/asynqfmt"
	"github.com/distpool/distpool/internal/names"
)

// Holding says how a chunk stands.
type Holding struct {
	Waits bool      // it has no outcomes yet, and its job is not over
	Lost  bool      // it has neither arguments nor outcomes, and its job is not over
	Owner string    // the worker that runs it; empty: none does
	Since time.Time // when that worker took it, by the clock of Redis
	Task  string    // its task; empty where the job does not exist or does not parse
}

// Holdings reads how chunks of one lane stand. A record that is damaged holds nothing.
func Holdings(ctx context.Context, c redis.Cmdable, lane string, chunks []Delivery) ([]Holding, error) {
	cmds := make([]*redis.SliceCmd, len(chunks))
	_, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, d := range chunks {
			n := strconv.Itoa(d.Chunk)
			cmds[i] = p.HMGet(ctx, Key(lane, d.Name), "about", "gen", "state", "own:"+n, "args:"+n)
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
		all[i] = holding(chunks[i].Gen, reply)
	}
	return all, confirmLost(ctx, c, lane, chunks, all)
}

// confirmLost looks for the outcomes of chunks that are Lost without them.
func confirmLost(ctx context.Context, c redis.Cmdable, lane string, chunks []Delivery, all []Holding) error {
	found := make([][2]*redis.BoolCmd, len(chunks))
	pipe := c.Pipeline()
	for i, d := range chunks {
		if all[i].Lost {
			key := Key(lane, d.Name)
			found[i] = [2]*redis.BoolCmd{pipe.HExists(ctx, key, string(OutOf(d.Chunk))), pipe.HExists(ctx, key, "consumed")}
		}
	}
	if pipe.Len() == 0 {
		return nil
	}
	_, err := pipe.Exec(ctx)
	for i, f := range found {
		if all[i].Lost {
			all[i].Lost = err == nil && !f[0].Val() && !f[1].Val()
		}
	}
	return err
}

func holding(gen string, reply []any) Holding {
	text := func(i int) string { s, _ := reply[i].(string); return s }
	about, err := ParseAbout(text(0))
	if err != nil || text(1) != gen {
		return Holding{}
	}
	state, own := State(text(2)), text(3)
	h := Holding{Task: about.Task, Waits: state == "" || state == Open}
	if own == "" && reply[4] == nil {
		h.Waits, h.Lost = false, h.Waits // see confirmLost
	}
	owner, rest, _ := strings.Cut(own, " ")
	since, _, _ := strings.Cut(rest, " ")
	h.Owner = owner
	if ms, err := strconv.ParseInt(since, 10, 64); err == nil {
		h.Since = time.UnixMilli(ms)
	}
	return h
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

// Message is asynq's message of a delivery. Its payload tells people, and programs that know
// no more of the task, which chunk it runs. errText is the error of its last run, at failed;
// empty: there was none.
func Message(lane, task string, d Delivery, errText string, failed time.Time) []byte {
	m := asynqfmt.Message{
		Type: task, ID: d.TaskID(), Queue: lane, Retry: asynqRetries, Timeout: int64(asynqTimeout.Seconds()),
		Payload: []byte(payloadOf(QueueOf(lane)) + d.Name + `","chunk":` + strconv.Itoa(d.Chunk) + "}"), Error: errText,
	}
	if errText != "" {
		m.LastFailed = failed.Unix()
	}
	return m.Append(nil)
}

// payloadOf is how the payloads of the deliveries of a queue begin, up to the job's name. Neither
// of the two names needs quoting.
func payloadOf(queue string) string { return `{"job":"` + names.Address{Queue: queue}.String() }
