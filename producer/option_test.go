package producer

import (
	"strings"
	"testing"
	"time"
)

func TestBadOptionsAreRefusedByName(t *testing.T) {
	p := &Pool{cfg: Config{}.withDefaults()}
	for want, opt := range map[string]Option{
		"producer.ChunkSize(-1)":  ChunkSize(-1),
		"producer.Queue":          Queue("a b"),
		"producer.ResultTTL(0s)":  ResultTTL(0),
		"producer.ResultTTL(1ns)": ResultTTL(1),
	} {
		if _, _, err := p.options([]Option{opt}, false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %s in it", err, want)
		}
	}
	for blocking, want := range map[bool]time.Duration{true: blockingTTL, false: DefaultResultTTL} {
		if o, spent, err := p.options(nil, blocking); err != nil || o.TTL != want || spent != blocking || o.Queue != DefaultQueue {
			t.Errorf("blocking %t: %+v, %v; want results to live for %v", blocking, o, err, want)
		}
	}
}

func TestBadSettingsAreRefusedByName(t *testing.T) {
	for field, cfg := range map[string]Config{
		"Queue":       {Queue: "a{b}"},
		"ResultTTL":   {ResultTTL: -1},
		"JobTTL":      {JobTTL: time.Millisecond},
		"MaxArgument": {MaxArgument: -1},
	} {
		if err := cfg.withDefaults().validate(); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: error %v", field, err)
		}
	}
	p := &Pool{cfg: Config{}.withDefaults()}
	for name, o := range map[string]Option{"ChunkSize": ChunkSize(-1), "Queue": Queue(""), "ResultTTL": ResultTTL(0)} {
		if _, _, err := p.options([]Option{o}, false); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if o, _, err := p.options(nil, true); err != nil || o.TTL != blockingTTL {
		t.Errorf("a blocking form keeps its result for %v, %v", o.TTL, err)
	}
}
