package deploytest

import (
	"net"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"
)

// What we use of Prometheus's configuration, by its documentation. Reading is
// strict, so another key must be added here, and looked up, first.
type (
	prometheusConfig struct {
		Global        globalConfig   `yaml:"global"`
		RuleFiles     []string       `yaml:"rule_files"`
		ScrapeConfigs []scrapeConfig `yaml:"scrape_configs"`
	}
	globalConfig struct {
		ScrapeInterval     time.Duration `yaml:"scrape_interval"`
		EvaluationInterval time.Duration `yaml:"evaluation_interval"`
	}
	scrapeConfig struct {
		JobName       string             `yaml:"job_name"`
		Authorization *authorization     `yaml:"authorization"`
		DNS           []dnsConfig        `yaml:"dns_sd_configs"`
		Static        []staticConfig     `yaml:"static_configs"`
		Kubernetes    []kubernetesConfig `yaml:"kubernetes_sd_configs"`
		Relabel       []relabelConfig    `yaml:"relabel_configs"`
	}
	authorization struct {
		Type            string `yaml:"type"`
		CredentialsFile string `yaml:"credentials_file"`
	}
	dnsConfig struct {
		Names           []string      `yaml:"names"`
		Type            string        `yaml:"type"`
		Port            int           `yaml:"port"`
		RefreshInterval time.Duration `yaml:"refresh_interval"`
	}
	staticConfig struct {
		Targets []string `yaml:"targets"`
	}
	kubernetesConfig struct {
		Role       string               `yaml:"role"`
		Namespaces kubernetesNamespaces `yaml:"namespaces"`
		Selectors  []kubernetesSelector `yaml:"selectors"`
	}
	kubernetesNamespaces struct {
		Names []string `yaml:"names"`
	}
	kubernetesSelector struct {
		Role  string `yaml:"role"`
		Label string `yaml:"label"`
	}
	relabelConfig struct {
		Source []string `yaml:"source_labels"`
		Regex  string   `yaml:"regex"`
		Action string   `yaml:"action"`
		Target string   `yaml:"target_label"`
	}
)

// strictly reads a YAML file, and fails on a key that into has not.
func strictly(t *testing.T, file string, into any) {
	t.Helper()
	f, err := os.Open(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	dec := yaml.NewDecoder(f)
	dec.KnownFields(true)
	if err := dec.Decode(into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

func TestPrometheusScrapesPortsThatTheServicesOpen(t *testing.T) {
	var cfg prometheusConfig
	strictly(t, "deploy/prometheus/prometheus.yml", &cfg)
	scraped := map[string]*scrapeConfig{} // by host:port
	for i := range cfg.ScrapeConfigs {
		c := &cfg.ScrapeConfigs[i]
		if c.JobName == "" {
			t.Error("a scrape has no job_name")
		}
		for _, d := range c.DNS {
			if d.Type != "A" {
				t.Errorf("%s looks up %s records, which have no address to put the port to", c.JobName, d.Type)
			}
			for _, name := range d.Names {
				scraped[net.JoinHostPort(name, strconv.Itoa(d.Port))] = c
			}
		}
		for _, s := range c.Static {
			for _, target := range s.Targets {
				scraped[target] = c
			}
		}
	}
	worker, monitor := service(t, "worker"), service(t, "monitor")
	open := map[string]string{ // host:port of the compose file -> who must show the token
		net.JoinHostPort("worker", port(t, flagValue(worker.Command, "-http"))):    "",
		net.JoinHostPort("monitor", port(t, flagValue(monitor.Command, "--addr"))): secretFile(t, "prometheus"),
	}
	for target, credentials := range open {
		c, ok := scraped[target]
		if !ok {
			t.Errorf("%s is not scraped", target)
			continue
		}
		switch a := c.Authorization; {
		case credentials == "" && a != nil:
			t.Errorf("%s is shown the token", target)
		case credentials != "" && (a == nil || a.Type != "Bearer" || a.CredentialsFile != credentials):
			t.Errorf("%s is shown %+v, want the token in %s", target, a, credentials)
		}
	}
	if len(scraped) != len(open) {
		t.Errorf("scraped are %v, open are %v", scraped, open)
	}
	// The monitor answers only to names that it knows.
	if name := flagValue(monitor.Command, "--allow-host"); name != "monitor" {
		t.Errorf("Prometheus calls the monitor by the name monitor, and it knows %q", name)
	}
}

func TestPrometheusFindsItsFiles(t *testing.T) {
	var cfg prometheusConfig
	strictly(t, "deploy/prometheus/prometheus.yml", &cfg)
	s := service(t, "prometheus")
	mounted := map[string]string{} // in the container -> here
	for _, v := range s.Volumes {
		mounted[v.Target] = v.Source
	}
	var file string
	for _, word := range s.Command {
		if rest, ok := cutFlag(word, "--config.file"); ok {
			file = rest
		}
		if dir, ok := cutFlag(word, "--storage.tsdb.path"); ok && mounted[dir] == "" {
			t.Errorf("the data in %s are in no volume", dir)
		}
	}
	if filepath.Base(mounted[file]) != "prometheus.yml" {
		t.Errorf("the configuration is %q, mounted are %v", file, mounted)
	}
	if len(cfg.RuleFiles) == 0 {
		t.Error("there are no rules")
	}
	for _, rules := range cfg.RuleFiles {
		inside := path.Join(path.Dir(file), rules)
		if source, ok := mounted[inside]; !ok || filepath.Base(source) != rules {
			t.Errorf("the rules %s are not mounted; mounted are %v", inside, mounted)
		}
	}
	if slices.Contains(s.Command, "--web.enable-admin-api") || slices.Contains(s.Command, "--web.enable-lifecycle") {
		t.Error("whoever reaches Prometheus may end it")
	}
}

func cutFlag(word, name string) (string, bool) {
	if len(word) > len(name) && word[:len(name)+1] == name+"=" {
		return word[len(name)+1:], true
	}
	return "", false
}

// What Prometheus scrapes is really there: the programs, as they are deployed,
// serve their metrics.
func TestDeployedProgramsServeTheirMetrics(t *testing.T) {
	deploy(t, service(t, "worker").Command).serves(t, "/metrics", "", "distpool_slots 4")
	deploy(t, service(t, "monitor").Command).serves(t, "/metrics", token, "distpool_queues_up 1")
}
