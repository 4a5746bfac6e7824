package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Delivery is the payload of an asynq task: "run chunk Chunk of job Job". It
// carries no truth: the job record does. Number tells deliveries of the same
// chunk apart; the first is 1.
type Delivery struct {
	Job    string `json:"job"`
	Chunk  int    `json:"chunk"`
	Number int    `json:"delivery"`
	Gen    string `json:"gen,omitempty"` // tells jobs apart that had the same ID; see record.Ref
}

// TaskID is the asynq task ID of the delivery. It is derived, not drawn, so
// that an enqueue that is sent twice conflicts with itself instead of making a
// second delivery.
func (d Delivery) TaskID() string {
	id := d.Job + ":" + strconv.Itoa(d.Chunk) + ":" + strconv.Itoa(d.Number)
	if d.Gen != "" {
		id += ":" + d.Gen
	}
	return id
}

// Encode returns the payload.
func (d Delivery) Encode() []byte {
	b := make([]byte, 0, len(d.Job)+48)
	b = append(b, `{"job":`...)
	b = strconv.AppendQuote(b, d.Job) // IDs are ASCII without quotes, so Go's quoting is JSON's
	b = append(b, `,"chunk":`...)
	b = strconv.AppendInt(b, int64(d.Chunk), 10)
	b = append(b, `,"delivery":`...)
	b = strconv.AppendInt(b, int64(d.Number), 10)
	if d.Gen != "" {
		b = append(b, `,"gen":`...)
		b = strconv.AppendQuote(b, d.Gen)
	}
	return append(b, '}')
}

// ParseDelivery undoes Encode.
func ParseDelivery(payload []byte) (Delivery, error) {
	if d, ok := parseOwn(payload); ok {
		return d, nil
	}
	var d Delivery
	if err := json.Unmarshal(payload, &d); err != nil {
		return Delivery{}, fmt.Errorf("not a distpool delivery: %w", err)
	}
	if d.Job == "" || d.Chunk < 0 || d.Number < 1 {
		return Delivery{}, fmt.Errorf("not a distpool delivery: job %q, chunk %d, delivery %d", d.Job, d.Chunk, d.Number)
	}
	return d, nil
}

// parseOwn reads what Encode writes, which JSON in general is not: field by field, in
// their order. It is an eighth of a worker's time.
func parseOwn(b []byte) (d Delivery, ok bool) {
	b, ok = bytes.CutPrefix(b, []byte(`{"job":"`))
	job, b, ok2 := bytes.Cut(b, []byte(`","chunk":`))
	chunk, b, ok3 := bytes.Cut(b, []byte(`,"delivery":`))
	number, gen, hasGen := bytes.Cut(b, []byte(`,"gen":"`))
	if hasGen {
		gen, hasGen = bytes.CutSuffix(gen, []byte(`"}`))
	} else {
		number, hasGen = bytes.CutSuffix(number, []byte(`}`))
	}
	if !ok || !ok2 || !ok3 || !hasGen || len(job) == 0 || !plain(job) || !plain(gen) {
		return Delivery{}, false
	}
	var err error
	if d.Chunk, err = strconv.Atoi(string(chunk)); err != nil || d.Chunk < 0 {
		return Delivery{}, false
	}
	if d.Number, err = strconv.Atoi(string(number)); err != nil || d.Number < 1 {
		return Delivery{}, false
	}
	d.Job, d.Gen = string(job), string(gen)
	return d, true
}

// plain reports whether a JSON string of these bytes means just them.
func plain(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// ParseTaskID undoes TaskID; ok is false for the ID of a task that is not a
// delivery.
func ParseTaskID(id string) (d Delivery, ok bool) {
	job, rest, ok := strings.Cut(id, ":")
	chunk, rest, ok2 := strings.Cut(rest, ":")
	number, gen, hasGen := strings.Cut(rest, ":")
	if hasGen && (gen == "" || strings.Contains(gen, ":")) {
		return Delivery{}, false
	}
	if !ok || !ok2 || job == "" {
		return Delivery{}, false
	}
	var err error
	if d.Chunk, err = strconv.Atoi(chunk); err != nil || d.Chunk < 0 {
		return Delivery{}, false
	}
	if d.Number, err = strconv.Atoi(number); err != nil || d.Number < 1 {
		return Delivery{}, false
	}
	d.Job, d.Gen = job, gen
	return d, true
}
