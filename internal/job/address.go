package job

import (
	"strconv"
	"strings"

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
