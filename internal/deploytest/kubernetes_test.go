package deploytest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
)

func TestManifestsAreCheckedAgainstTheAPI(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root, manifests, "worker.yml"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parse(string(b)); err != nil {
		t.Fatal(err)
	}
	for name, replace := range map[string][2]string{
		"unknown key":   {"readinessProbe:", "readynessProbe:"},
		"wrong type":    {"terminationGracePeriodSeconds: 60", "terminationGracePeriodSeconds: 60s"},
		"wrong place":   {"      automountServiceAccountToken: false\n", "      readOnlyRootFilesystem: true\n"},
		"bad quantity":  {"memory: 256Mi", "memory: 256 MB"},
		"wrong version": {"policy/v1", "policy/v1beta1"},
		"given twice":   {"strategy:\n", "strategy: {}\n  strategy:\n"},
	} {
		broken := strings.Replace(string(b), replace[0], replace[1], 1)
		if broken == string(b) {
			t.Errorf("%s: the file does not contain %q", name, replace[0])
		} else if _, err := parse(broken); err == nil {
			t.Errorf("%s: a manifest with %q is taken", name, replace[1])
		}
	}
}

func TestTheKustomizationListsEveryManifest(t *testing.T) {
	k := kustomized(t)
	files, err := filepath.Glob(filepath.Join(root, manifests, "*.yml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if name := filepath.Base(file); name != "kustomization.yml" && !slices.Contains(k.Resources, name) {
			t.Errorf("%s is not listed", name)
		}
	}
	if len(k.Images) != 1 || k.Images[0].Name != service(t, "worker").Image {
		t.Errorf("the images are %+v, want a place for that of docker-compose.yml", k.Images)
	}
	kubectl, err := exec.LookPath("kubectl")
	if err != nil {
		t.Log("without kubectl it is not tried whether kustomize takes it")
		return
	}
	out, err := exec.Command(kubectl, "kustomize", filepath.Join(root, manifests)).CombinedOutput()
	if err != nil {
		t.Fatalf("kubectl kustomize: %v\n%s", err, out)
	}
	if objects, err := parse(string(out)); err != nil || len(objects) != len(cluster(t)) {
		t.Errorf("kubectl kustomize makes %d objects of %d: %v", len(objects), len(cluster(t)), err)
	}
}

func TestPodsHaveNoRightsAndBounds(t *testing.T) {
	for key, pod := range pods(t) {
		s := pod.Spec
		if c := s.SecurityContext; c == nil || c.RunAsNonRoot == nil || !*c.RunAsNonRoot || c.RunAsUser == nil || *c.RunAsUser == 0 ||
			c.SeccompProfile == nil || c.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
			t.Errorf("%s: the pod's security context is %+v", key, c)
		}
		if s.AutomountServiceAccountToken == nil || *s.AutomountServiceAccountToken {
			t.Errorf("%s gets a token of the cluster, which it does not need", key)
		}
		for _, c := range s.Containers {
			sc := c.SecurityContext
			if sc == nil || sc.ReadOnlyRootFilesystem == nil || !*sc.ReadOnlyRootFilesystem || sc.AllowPrivilegeEscalation == nil || *sc.AllowPrivilegeEscalation ||
				sc.Capabilities == nil || !slices.Equal(sc.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(sc.Capabilities.Add) > 0 || sc.Privileged != nil {
				t.Errorf("%s: the security context of %s is %+v", key, c.Name, sc)
			}
			if c.Resources.Requests.Cpu().IsZero() || c.Resources.Requests.Memory().IsZero() || c.Resources.Limits.Memory().IsZero() {
				t.Errorf("%s: the resources of %s are %+v", key, c.Name, c.Resources)
			}
			if c.ReadinessProbe == nil || c.LivenessProbe == nil {
				t.Errorf("%s: %s has not both probes", key, c.Name)
			}
			if c.Image != "distpool" && !images.MatchString(c.Image) {
				t.Errorf("%s: the image %s is neither ours nor known", key, c.Image)
			}
		}
	}
}

// usedSecrets are the keys of Secrets that a pod uses, as name/key.
func usedSecrets(pod corev1.PodSpec) (used []string) {
	for _, c := range pod.Containers {
		for _, e := range c.Env {
			if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
				used = append(used, e.ValueFrom.SecretKeyRef.Name+"/"+e.ValueFrom.SecretKeyRef.Key)
			}
		}
	}
	for _, v := range pod.Volumes {
		if v.Secret != nil {
			for _, item := range v.Secret.Items {
				used = append(used, v.Secret.SecretName+"/"+item.Key)
			}
		}
	}
	return used
}

func TestSecretsAreThoseThatTheInstructionsMake(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root, manifests, "kustomization.yml"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(b), "\\\n#", "")
	made := map[string]bool{}
	for _, m := range regexp.MustCompile(`create secret generic (\S+)(.*)`).FindAllStringSubmatch(text, -1) {
		for _, l := range regexp.MustCompile(`--from-literal=(\w+)=`).FindAllStringSubmatch(m[2], -1) {
			made[m[1]+"/"+l[1]] = false
		}
	}
	for key, pod := range pods(t) {
		for _, s := range usedSecrets(pod.Spec) {
			if _, ok := made[s]; !ok {
				t.Errorf("%s uses the secret %s, which nobody makes", key, s)
			}
			made[s] = true
		}
		for _, c := range pod.Spec.Containers {
			for _, e := range c.Env {
				if e.Value != "" {
					t.Errorf("%s: %s is %q; is it a secret?", key, e.Name, e.Value)
				}
			}
		}
	}
	for s, used := range made {
		if !used {
			t.Errorf("the secret %s is made and not used", s)
		}
	}
	// The URL leads to the Service of redis.yml.
	svc := object[corev1.Service](t, "Service/distpool-redis")
	if want := fmt.Sprintf("@%s:%d", svc.Name, svc.Spec.Ports[0].Port); !strings.Contains(text, want) {
		t.Errorf("the URL in the instructions has no %s", want)
	}
}

func TestServicesAndPoliciesSelectPods(t *testing.T) {
	selects := map[string]map[string]string{}
	for key, o := range cluster(t) {
		switch o := o.(type) {
		case *corev1.Service:
			selects[key] = o.Spec.Selector
			pod := selected(t, o.Spec.Selector)
			for _, p := range o.Spec.Ports {
				if !hasPort(pod, p.TargetPort.String()) {
					t.Errorf("%s leads to port %s, which no container opens", key, p.TargetPort.String())
				}
			}
			if o.Spec.Type != "" && o.Spec.Type != corev1.ServiceTypeClusterIP {
				t.Errorf("%s is of type %s: reached from outside, without encryption", key, o.Spec.Type)
			}
		case *appsv1.Deployment:
			selects[key] = o.Spec.Selector.MatchLabels
		case *appsv1.StatefulSet:
			selects[key] = o.Spec.Selector.MatchLabels
		case *policyv1.PodDisruptionBudget:
			selects[key] = o.Spec.Selector.MatchLabels
		case *networkingv1.NetworkPolicy:
			selects[key] = o.Spec.PodSelector.MatchLabels
		case *autoscalingv2.HorizontalPodAutoscaler:
			ref := o.Spec.ScaleTargetRef
			if d := object[appsv1.Deployment](t, ref.Kind+"/"+ref.Name); d.APIVersion != ref.APIVersion || d.Spec.Replicas != nil {
				t.Errorf("%s scales %+v, whose replicas applying it resets to %v", key, ref, d.Spec.Replicas)
			}
		}
	}
	for key, labels := range selects {
		if len(labels) == 0 {
			t.Errorf("%s selects everything", key)
			continue
		}
		selected(t, labels)
	}
}

// selected is the one kind of pod with the labels.
func selected(t *testing.T, labels map[string]string) corev1.PodSpec {
	t.Helper()
	var found []corev1.PodSpec
	for _, pod := range pods(t) {
		all := true
		for k, v := range labels {
			all = all && pod.Labels[k] == v
		}
		if all {
			found = append(found, pod.Spec)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%v selects %d kinds of pods, want 1", labels, len(found))
	}
	return found[0]
}

func hasPort(pod corev1.PodSpec, name string) bool {
	for _, c := range pod.Containers {
		for _, p := range c.Ports {
			if p.Name == name || strconv.Itoa(int(p.ContainerPort)) == name {
				return true
			}
		}
	}
	return false
}

// own is the one container of a Deployment.
func own(t *testing.T, name string) (*appsv1.Deployment, corev1.Container) {
	t.Helper()
	d := object[appsv1.Deployment](t, "Deployment/"+name)
	if n := len(d.Spec.Template.Spec.Containers); n != 1 {
		t.Fatalf("%s has %d containers", name, n)
	}
	return d, d.Spec.Template.Spec.Containers[0]
}

func TestPodsRunWhatTheImageHas(t *testing.T) {
	for name, flag := range map[string]string{"distpool-worker": "-http", "distpool-monitor": "--addr"} {
		_, c := own(t, name)
		if len(c.Command) != 0 {
			t.Errorf("%s has the command %q beside its arguments", name, c.Command)
		}
		accepted(t, name, c.Args)
		if p := port(t, flagValue(c.Args, flag)); !hasPort(corev1.PodSpec{Containers: []corev1.Container{c}}, p) {
			t.Errorf("%s listens on %s, its ports are %+v", name, p, c.Ports)
		}
		d := deploy(t, c.Args)
		for which, probe := range map[string]*corev1.Probe{"liveness": c.LivenessProbe, "readiness": c.ReadinessProbe} {
			where := name + "'s " + which + " probe"
			switch {
			case probe.HTTPGet != nil:
				if probe.HTTPGet.Port.String() != c.Ports[0].Name {
					t.Errorf("%s asks port %s, which is not open", where, probe.HTTPGet.Port.String())
				}
				d.probed(t, where, probe.HTTPGet.Path)
			case probe.TCPSocket == nil || probe.TCPSocket.Port.String() != c.Ports[0].Name:
				t.Errorf("%s is %+v", where, probe)
			}
		}
	}
}

func TestWorkerPodsDrainBeforeTheyAreKilled(t *testing.T) {
	d, c := own(t, "distpool-worker")
	limit := d.Spec.Template.Spec.TerminationGracePeriodSeconds
	if g := grace(t, d.Name, c.Args); limit == nil || time.Duration(*limit)*time.Second < g+5*time.Second {
		t.Errorf("terminationGracePeriodSeconds is %v, want more than the grace of %v, and some seconds to end", limit, g)
	}
	if c.LivenessProbe.HTTPGet == nil || c.LivenessProbe.HTTPGet.Path != "/healthz" || c.ReadinessProbe.HTTPGet.Path != "/readyz" {
		t.Errorf("the probes are %+v and %+v: a Redis that is away must not kill workers", c.LivenessProbe, c.ReadinessProbe)
	}
	u := object[policyv1.PodDisruptionBudget](t, "PodDisruptionBudget/distpool-worker").Spec.MaxUnavailable
	if u == nil || u.String() == "0" || u.String() == "0%" || u.String() == "100%" {
		t.Errorf("the budget allows %v: nodes cannot be drained, or all workers go at once", u)
	}
}

func TestTheMonitorReadsItsTokenFromTheSecret(t *testing.T) {
	d, c := own(t, "distpool-monitor")
	volumes := d.Spec.Template.Spec.Volumes
	if len(volumes) != 1 || len(c.VolumeMounts) != 1 || volumes[0].Name != c.VolumeMounts[0].Name || volumes[0].Secret == nil {
		t.Fatalf("the volumes are %+v at %+v", volumes, c.VolumeMounts)
	}
	if want := filepath.Join(c.VolumeMounts[0].MountPath, volumes[0].Secret.Items[0].Path); flagValue(c.Args, "--token-file") != want {
		t.Errorf("the token is read from %s, and is in %s", flagValue(c.Args, "--token-file"), want)
	}
	if flagValue(c.Args, "--allow-host") != object[corev1.Service](t, "Service/distpool-monitor").Name {
		t.Errorf("browsers of the cluster call the monitor by the name of its service, which it does not know: %q", c.Args)
	}
}

func TestRedisInTheClusterKeepsWhatItAccepted(t *testing.T) {
	s := object[appsv1.StatefulSet](t, "StatefulSet/distpool-redis")
	c := s.Spec.Template.Spec.Containers[0]
	command := strings.Join(c.Args, " ")
	for _, want := range []string{"--appendonly yes", "--maxmemory-policy noeviction", "--requirepass $(REDISCLI_AUTH)"} {
		if !strings.Contains(command, want) {
			t.Errorf("the command %q lacks %q", command, want)
		}
	}
	if len(s.Spec.VolumeClaimTemplates) != 1 || c.VolumeMounts[0].Name != s.Spec.VolumeClaimTemplates[0].Name || c.VolumeMounts[0].MountPath != "/data" {
		t.Errorf("the data are in %+v", c.VolumeMounts)
	}
	m := regexp.MustCompile(`^(\d+)gb$`).FindStringSubmatch(flagValue(c.Args, "--maxmemory"))
	if m == nil {
		t.Fatalf("maxmemory is %q", flagValue(c.Args, "--maxmemory"))
	}
	most, _ := strconv.ParseInt(m[1], 10, 64)
	if limit := c.Resources.Limits.Memory().Value(); limit < most<<30*3/2 {
		t.Errorf("the limit is %d bytes, maxmemory %d GB: no room to rewrite the file", limit, most)
	}
}
