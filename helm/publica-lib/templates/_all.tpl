{{/* Everything one block consists of. */}}
{{- define "publica.all" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "publica.name" . }}
  labels:
    {{- include "publica.labels" . | nindent 4 }}
automountServiceAccountToken: false
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "publica.name" . }}
  labels:
    {{- include "publica.labels" . | nindent 4 }}
data:
  publica.toml: |
    {{- include "publica.config" . | nindent 4 }}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ include "publica.name" . }}
  labels:
    {{- include "publica.labels" . | nindent 4 }}
spec:
  type: ClusterIP
  # Clients of gRPC balance over the addresses themselves.
  clusterIP: {{ ternary "None" "" (ne .Values.block "gateway") | quote }}
  selector:
    {{- include "publica.selector" . | nindent 4 }}
  ports:
    - name: {{ ternary "http" "grpc" (eq .Values.block "gateway") }}
      port: 8080
      targetPort: grpc
---
{{ include "publica.workload" . }}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ include "publica.name" . }}
  labels:
    {{- include "publica.labels" . | nindent 4 }}
spec:
  podSelector:
    matchLabels:
      {{- include "publica.selector" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
  ingress:
    - from:
        {{- if eq .Values.block "gateway" }}
        - namespaceSelector: {}
        {{- else }}
        - podSelector:
            matchLabels:
              app.kubernetes.io/part-of: publica
        {{- end }}
      ports:
        - port: 8080
    {{- with .Values.monitoring.namespace }}
    - from:
        - namespaceSelector:
            matchLabels:
              kubernetes.io/metadata.name: {{ . | quote }}
      ports:
        - port: 9090
    {{- end }}
  egress:
    {{- include "publica.nameServers" . | nindent 4 }}
    - to:
        - podSelector:
            matchLabels:
              app.kubernetes.io/part-of: publica
      ports:
        - port: 8080
    {{- with .Values.egress }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- if and (ne .Values.store.engine "sqlite") (gt (int .Values.replicas) 1) }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "publica.name" . }}
  labels:
    {{- include "publica.labels" . | nindent 4 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels:
      {{- include "publica.selector" . | nindent 6 }}
{{- end }}
{{- include "publica.migration" . }}
{{- end -}}
