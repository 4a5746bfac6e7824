package deploytest

import (
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"sigs.k8s.io/yaml"
)

// adapterValues is what prometheus-adapter's chart takes, as far as we use it.
type (
	adapterValues struct {
		Rules adapterRules `json:"rules"`
	}
	adapterRules struct {
		External []adapterRule `json:"external"`
		Custom   []adapterRule `json:"custom"`
	}
	adapterRule struct {
		SeriesQuery  string           `json:"seriesQuery"`
		Resources    adapterResources `json:"resources"`
		Name         adapterName      `json:"name"`
		MetricsQuery string           `json:"metricsQuery"`
	}
	adapterResources struct {
		Overrides map[string]adapterResource `json:"overrides"`
	}
	adapterResource struct {
		Resource string `json:"resource"`
	}
	adapterName struct {
		As string `json:"as"`
	}
)

func TestScalingIsOnMetricsThatExist(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root, manifests, "adapter", "values.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var values adapterValues
	if err := yaml.UnmarshalStrict(b, &values); err != nil {
		t.Fatal(err)
	}
	named := func(rules []adapterRule) map[string]bool {
		names := map[string]bool{}
		for _, r := range rules {
			if !strings.HasPrefix(r.SeriesQuery, r.Name.As+"{") {
				t.Errorf("the rule for %s reads %s", r.Name.As, r.SeriesQuery)
			}
			names[r.Name.As] = true
		}
		return names
	}
	external, custom := named(values.Rules.External), named(values.Rules.Custom)
	known := reported(t)
	h := object[autoscalingv2.HorizontalPodAutoscaler](t, "HorizontalPodAutoscaler/distpool-worker")
	_, c := own(t, "distpool-worker")
	slots, err := strconv.ParseInt(flagValue(c.Args, "-concurrency"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	wait := false
	for _, m := range h.Spec.Metrics {
		switch {
		case m.External != nil:
			name, labels := m.External.Metric.Name, m.External.Metric.Selector.MatchLabels
			if !external[name] || !maps.Equal(known[name], map[string]bool{"queue": true}) || len(labels) != 1 || !strings.Contains(flagValue(c.Args, "-queues"), labels["queue"]+"=") {
				t.Errorf("it scales on %s of %v: adapter %v, labels %v", name, labels, external, known[name])
			}
			wait = wait || name == "distpool_queue_latency_seconds"
		case m.Pods != nil:
			name, target := m.Pods.Metric.Name, m.Pods.Target.AverageValue
			if _, ok := known[name]; !ok || !custom[name] {
				t.Errorf("it scales on %s: adapter %v", name, custom)
			}
			if target.Sign() <= 0 || target.CmpInt64(slots) >= 0 {
				t.Errorf("it wants %s busy slots of %d: it would never bring workers", target, slots)
			}
		default:
			t.Errorf("it scales on %+v", m)
		}
	}
	if !wait {
		t.Error("it does not scale on queue wait")
	}
	if h.Spec.MinReplicas == nil || *h.Spec.MinReplicas < 2 {
		t.Errorf("there may be %v workers: one that is lost leaves none until it is replaced", h.Spec.MinReplicas)
	}
}
