package job

import (
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/names"
)

// Address is what people name the job of a lane by.
func Address(lane, name string) string {
	return names.Address{Queue: QueueOf(lane), Name: name}.String()
}

// QueueOf is the queue that a lane belongs to. The name of a queue has no tilde.
func QueueOf(lane string) string {
	queue, _, _ := strings.Cut(lane, "~")
	return queue
}

// Ref names one job in its lane. Gen is set for chosen names only: see the field gen.
type Ref struct {
	Name string
	Gen  string
}

// Delivery is one asynq task: "run chunk Chunk of this job". Number tells deliveries of
// the same chunk apart, from 1.
type Delivery struct {
	Ref
	Chunk  int
	Number int
}

// TaskID is the ID of the asynq task. It is derived and not drawn, so an enqueue that is
// sent twice conflicts with itself.
func (d Delivery) TaskID() string {
	job := d.Name
	if d.Gen != "" {
		job += "~" + d.Gen
	}
	return job + ":" + strconv.Itoa(d.Chunk) + ":" + strconv.Itoa(d.Number)
}

// ParseTaskID undoes TaskID. It reports false for a task that is no delivery.
func ParseTaskID(id string) (Delivery, bool) {
	var d Delivery
	job, rest, ok := strings.Cut(id, ":")
	if !ok {
		return d, false
	}
	d.Name, d.Gen, _ = strings.Cut(job, "~")
	chunk, number, _ := strings.Cut(rest, ":")
	var err error
	if d.Chunk, err = parseCount(chunk); err != nil {
		return d, false
	}
	d.Number, err = parseCount(number)
	return d, err == nil && d.Number > 0 && d.TaskID() == id
}

// Prefix is the prefix of all keys of a lane but asynq's. The scripts derive it, too.
func Prefix(lane string) string { return "distpool:{" + lane + "}:" }

// Key is the hash of one job.
func Key(lane, name string) string { return Prefix(lane) + "job:" + name }

// ArgsOf is the field with the arguments of a chunk that has no outcomes.
func ArgsOf(chunk int) string { return "args:" + strconv.Itoa(chunk) }

// KeptOf is the field with the arguments of a chunk with failed calls.
func KeptOf(chunk int) string { return "kept:" + strconv.Itoa(chunk) }

// OutOf is the field with the outcomes of a chunk.
func OutOf(chunk int) string { return "out:" + strconv.Itoa(chunk) }

// ReplyChannel is the channel on which a pool hears of its jobs in a lane.
func ReplyChannel(lane, pool string) string { return Prefix(lane) + "reply:" + pool }

// ControlChannel is the channel on which workers hear of jobs that ended before their
// time.
func ControlChannel(lane string) string { return Prefix(lane) + "control" }

// publishBy is the command by which scripts publish. On a Cluster that is SPUBLISH, in the lane's
// slot: the Cluster's bus, which brings PUBLISH to all masters, may hold small messages for up to
// 40 ms. Scripts use PUBLISH where SPUBLISH does not do: see publish.lua.
func publishBy(c redis.UniversalClient) string {
	if _, ok := c.(*redis.ClusterClient); ok {
		return "SPUBLISH"
	}
	return "PUBLISH"
}

// LaneOfReply is the lane that a reply channel belongs to.
func LaneOfReply(channel string) (lane string, ok bool) {
	lane, ok = strings.CutPrefix(channel, "distpool:{")
	lane, _, found := strings.Cut(lane, "}:reply:")
	return lane, ok && found
}
