package deploytest

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

const manifests = "deploy/kubernetes"

// kustomization is what we use of kustomize's file.
type kustomization struct {
	APIVersion string       `json:"apiVersion"`
	Kind       string       `json:"kind"`
	Namespace  string       `json:"namespace"`
	Resources  []string     `json:"resources"`
	Images     []imageOfOur `json:"images"`
}

type imageOfOur struct {
	Name    string `json:"name"`
	NewName string `json:"newName"`
	NewTag  string `json:"newTag"`
}

// kinds are what the manifests may hold, with the types of Kubernetes's own API,
// which say what keys there are.
var kinds = map[string]func() any{
	"v1/Service":                             func() any { return new(corev1.Service) },
	"apps/v1/Deployment":                     func() any { return new(appsv1.Deployment) },
	"apps/v1/StatefulSet":                    func() any { return new(appsv1.StatefulSet) },
	"networking.k8s.io/v1/NetworkPolicy":     func() any { return new(networkingv1.NetworkPolicy) },
	"policy/v1/PodDisruptionBudget":          func() any { return new(policyv1.PodDisruptionBudget) },
	"autoscaling/v2/HorizontalPodAutoscaler": func() any { return new(autoscalingv2.HorizontalPodAutoscaler) },
}

// header is what every object begins with.
type (
	header struct {
		APIVersion string
		Kind       string
		Metadata   metadata
	}
	metadata struct{ Name string }
)

var divider = regexp.MustCompile(`(?m)^---\n`)

// parse reads the documents of a manifest, and fails on keys that Kubernetes does
// not know and on values of other types. The result is by kind and name.
func parse(text string) (map[string]any, error) {
	all := map[string]any{}
	for _, doc := range divider.Split(text, -1) {
		var head header
		if err := yaml.Unmarshal([]byte(doc), &head); err != nil {
			return nil, err
		}
		kind, ok := kinds[head.APIVersion+"/"+head.Kind]
		if !ok {
			return nil, fmt.Errorf("there is no %s/%s here", head.APIVersion, head.Kind)
		}
		into := kind()
		if err := yaml.UnmarshalStrict([]byte(doc), into); err != nil {
			return nil, fmt.Errorf("%s %s: %w", head.Kind, head.Metadata.Name, err)
		}
		key := head.Kind + "/" + head.Metadata.Name
		if _, twice := all[key]; twice || head.Metadata.Name == "" {
			return nil, fmt.Errorf("%s is there twice, or has no name", key)
		}
		all[key] = into
	}
	return all, nil
}

func kustomized(t *testing.T) kustomization {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, manifests, "kustomization.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var k kustomization
	if err := yaml.UnmarshalStrict(b, &k); err != nil {
		t.Fatal(err)
	}
	return k
}

// cluster reads all manifests that the kustomization lists.
func cluster(t *testing.T) map[string]any {
	t.Helper()
	all := map[string]any{}
	for _, file := range kustomized(t).Resources {
		b, err := os.ReadFile(filepath.Join(root, manifests, file))
		if err != nil {
			t.Fatal(err)
		}
		objects, err := parse(string(b))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		maps.Copy(all, objects)
	}
	return all
}

func object[T any](t *testing.T, key string) *T {
	t.Helper()
	o, ok := cluster(t)[key].(*T)
	if !ok {
		t.Fatalf("there is no %s", key)
	}
	return o
}

// pods are the templates of pods, by the kind and name of what makes them.
func pods(t *testing.T) map[string]corev1.PodTemplateSpec {
	t.Helper()
	all := map[string]corev1.PodTemplateSpec{}
	for key, o := range cluster(t) {
		switch o := o.(type) {
		case *appsv1.Deployment:
			all[key] = o.Spec.Template
		case *appsv1.StatefulSet:
			all[key] = o.Spec.Template
		}
	}
	if len(all) != 3 {
		t.Fatalf("there are %d kinds of pods, want workers, a monitor and Redis", len(all))
	}
	return all
}
