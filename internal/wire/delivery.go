package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/distpool/distpool/internal/names"
)

// Delivery is the payload of an asynq task: "run chunk Chunk of job Job". It
// carries no truth: the job record does. Number tells deliveries of the same
// chunk apart; the first is 1.
type Delivery struct {
	Job    string `json:"job"` // its address, QUEUE/NAME
	Chunk  int    `json:"chunk"`
	Number int    `json:"delivery"`
	Gen    string `json:"gen,omitempty"` // tells jobs apart that had the same ID; see record.Ref
	At     int64  `json:"at,omitempty"`  // since when it may be taken (Unix time, ms), by the clock of who enqueued it; no part of its ID
}

// TaskID is the asynq task ID of the delivery, in the queue of its job. It is derived, not
// drawn, so that an enqueue that is sent twice conflicts with itself instead of making a
// second delivery.
func (d Delivery) TaskID() string {
	id := d.name() + ":" + strconv.Itoa(d.Chunk) + ":" + strconv.Itoa(d.Number)
	if d.Gen != "" {
		id += ":" + d.Gen
	}
	return id
}

// name is that of the job in its queue.
func (d Delivery) name() string { return names.SplitAddress(d.Job).Name }

// first reports whether this is the first delivery of the first chunk, as of each single
// call: then the payload does not say so.
func (d Delivery) first() bool { return d.Chunk == 0 && d.Number == 1 && d.Gen == "" && d.At > 0 }

// Encode returns the payload.
func (d Delivery) Encode() []byte {
	b := make([]byte, 0, len(d.Job)+72)
	b = append(b, `{"job":`...)
	b = strconv.AppendQuote(b, d.Job) // addresses are ASCII without quotes, so Go's quoting is JSON's
	if !d.first() {
		b = append(b, `,"chunk":`...)
		b = strconv.AppendInt(b, int64(d.Chunk), 10)
		b = append(b, `,"delivery":`...)
		b = strconv.AppendInt(b, int64(d.Number), 10)
	}
	if d.Gen != "" {
		b = append(b, `,"gen":`...)
		b = strconv.AppendQuote(b, d.Gen)
	}
	if d.At != 0 {
		b = append(b, `,"at":`...)
		b = strconv.AppendInt(b, d.At, 10)
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
	if !d.plausible() {
		return Delivery{}, fmt.Errorf("not a distpool delivery: job %.120q, chunk %d, delivery %d", d.Job, d.Chunk, d.Number)
	}
	return d, nil
}

// parseOwn reads what Encode writes, which JSON in general is not: field by field, in
// their order. It is an eighth of a worker's time.
func parseOwn(payload []byte) (d Delivery, ok bool) {
	b, ok1 := bytes.CutPrefix(payload, []byte(`{"job":"`))
	if job, at, ok := bytes.Cut(b, []byte(`","at":`)); ok1 && ok && !bytes.ContainsRune(job, '"') {
		return parseFirst(payload, job, at)
	}
	job, b, ok2 := bytes.Cut(b, []byte(`","chunk":`))
	chunk, b, ok3 := bytes.Cut(b, []byte(`,"delivery":`))
	b, ok4 := bytes.CutSuffix(b, []byte(`}`))
	b, at, hasAt := bytes.Cut(b, []byte(`,"at":`))
	number, gen, hasGen := bytes.Cut(b, []byte(`,"gen":"`))
	ok5 := true
	if hasGen {
		gen, ok5 = bytes.CutSuffix(gen, []byte(`"`))
	}
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 {
		return Delivery{}, false
	}
	d.Job, d.Gen = string(job), string(gen)
	var err1, err2, err3 error
	d.Chunk, err1 = strconv.Atoi(string(chunk))
	d.Number, err2 = strconv.Atoi(string(number))
	if hasAt {
		d.At, err3 = strconv.ParseInt(string(at), 10, 64)
	}
	return d, err1 == nil && err2 == nil && err3 == nil && d.plausible() && bytes.Equal(d.Encode(), payload)
}

// parseFirst reads the payload of a first delivery, of which b is what follows "at".
func parseFirst(payload, job, b []byte) (d Delivery, ok bool) {
	at, ok := bytes.CutSuffix(b, []byte(`}`))
	if !ok {
		return Delivery{}, false
	}
	n, err := strconv.ParseInt(string(at), 10, 64)
	d = Delivery{Job: string(job), Number: 1, At: n}
	return d, err == nil && d.plausible() && bytes.Equal(d.Encode(), payload)
}

// ParseTaskID undoes TaskID, for a task of the queue; ok is false for the ID of a task that
// is not a delivery.
func ParseTaskID(queue, id string) (d Delivery, ok bool) {
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
	d.Job, d.Gen = names.Address{Queue: queue, Name: job}.String(), gen
	return d, d.plausible()
}

// maxNumber bounds the numbers of chunks and deliveries, so that the next one is a
// number, too.
const maxNumber = 1 << 40

// plausible reports whether such a delivery can have been sent: its job's address
// becomes part of keys, and must not lead to others.
func (d Delivery) plausible() bool {
	a := names.SplitAddress(d.Job)
	return strings.Contains(d.Job, "/") && a.Name != "" && isWord(a.Name) && names.CheckQueue(a.Queue) == nil && isWord(d.Gen) && d.Chunk >= 0 && d.Chunk <= maxNumber && d.Number >= 1 && d.Number <= maxNumber
}

// isWord reports whether s has only what names of jobs are made of; see names.CheckJob.
func isWord(s string) bool {
	if len(s) > 100 {
		return false
	}
	for _, r := range []byte(s) {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '.', r == '_', r == '-':
		default:
			return false
		}
	}
	return true
}
