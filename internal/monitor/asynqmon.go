package monitor

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/hibiken/asynqmon"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/monitor/page"
)

// asynqmonPath is where asynqmon is mounted.
const asynqmonPath = "/asynqmon"

// asynqmonPolicy is what asynqmon's page needs: it has scripts and styles in the
// page. Its fonts from elsewhere are not among it; it looks fine without.
const asynqmonPolicy = "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; " +
	"img-src 'self' data:; connect-src 'self'; object-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// hidden stands for what --hide-payloads hides.
const hidden = "(hidden)"

// connOpt gives asynqmon our client.
type connOpt struct{ rdb redis.UniversalClient }

// MakeRedisClient is asynq's.
func (o connOpt) MakeRedisClient() any { return o.rdb }

// asynqmon is asynqmon's handler, which shows the arguments of deliveries.
func (m *Monitor) asynqmon() http.HandlerFunc {
	h := asynqmon.New(asynqmon.Options{
		RootPath: asynqmonPath, RedisConnOpt: connOpt{m.cfg.Redis}, ReadOnly: !m.cfg.Write,
		PayloadFormatter: asynqmon.PayloadFormatterFunc(m.formatPayload),
		ResultFormatter:  asynqmon.ResultFormatterFunc(m.formatResult),
	}) // it is not closed: that would close the client, which is the caller's
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", asynqmonPolicy)
		switch path := strings.TrimPrefix(r.URL.Path, asynqmonPath); {
		case strings.HasPrefix(path, "/api/") && m.cfg.HidePayloads:
			hide(h, w, r)
		case strings.HasPrefix(path, "/api/") || strings.HasPrefix(path, "/static/"):
			h.ServeHTTP(w, r)
		default:
			leadBack(h, w, r)
		}
	}
}

// back is what leads from asynqmon's page to ours; it has no such place itself.
const back = `<a href="/jobs" style="position:fixed;top:22px;right:24px;z-index:2000;font:15px sans-serif;color:#4379ff">← distpool</a>`

// leadBack adds the way back to asynqmon's page. Other files go as they are.
func leadBack(h http.Handler, w http.ResponseWriter, r *http.Request) {
	rec := &recorder{header: w.Header(), status: http.StatusOK}
	h.ServeHTTP(rec, r)
	w.WriteHeader(rec.status)
	_, _ = w.Write(bytes.Replace(rec.body.Bytes(), []byte("</body>"), []byte(back+"</body>"), 1))
}

const (
	// formatTime bounds what the arguments of one delivery may cost a page, which
	// has up to a hundred of them.
	formatTime = 100 * time.Millisecond
	maxForeign = 2000 // characters of the payload of a task that is not ours
)

// formatPayload shows what a task is about. asynqmon shows JSON as such.
func (m *Monitor) formatPayload(_ string, payload []byte) string {
	if m.cfg.HidePayloads {
		return hidden
	}
	ctx, cancel := context.WithTimeout(context.Background(), formatTime)
	defer cancel()
	d, args, ok := m.in.Delivery(ctx, payload, 0)
	if !ok {
		return page.Text(string(payload), maxForeign)
	}
	shown := args.Text
	if args.Cut {
		shown += "…"
	}
	if args.Note != "" {
		shown = "(" + args.Note + ")"
	}
	return fmt.Sprintf("job %s, chunk %d\narguments: %s", d.Job, d.Chunk, shown)
}

func (m *Monitor) formatResult(_ string, result []byte) string {
	if m.cfg.HidePayloads && len(result) > 0 {
		return hidden
	}
	return page.Text(string(result), maxForeign)
}

// secrets are the fields of asynqmon's answers that hold error texts. Payloads
// and results go through the formatters.
var secrets = map[string]bool{"error_message": true}

// hide takes error texts out of an answer of asynqmon's API.
func hide(h http.Handler, w http.ResponseWriter, r *http.Request) {
	rec := &recorder{header: w.Header(), status: http.StatusOK}
	h.ServeHTTP(rec, r)
	body := rec.body.Bytes()
	if rec.status == http.StatusOK && len(body) > 0 {
		dec := json.NewDecoder(bytes.NewReader(body))
		dec.UseNumber()
		var v any
		if err := dec.Decode(&v); err == nil {
			hideIn(v)
			body, _ = json.Marshal(v) // it was just decoded
			body = append(body, '\n')
		} else if r.Method == http.MethodGet {
			body = []byte("{}\n") // not what we know how to clean
		}
	}
	w.WriteHeader(rec.status)
	_, _ = w.Write(body)
}

func hideIn(v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, inner := range v {
			if s, ok := inner.(string); ok && s != "" && secrets[k] {
				v[k] = hidden
				continue
			}
			hideIn(inner)
		}
	case []any:
		for _, inner := range v {
			hideIn(inner)
		}
	}
}

// recorder keeps an answer.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }
