{{/* The pod of one role: restricted, probed on the admin port, drained on SIGTERM. */}}
{{- define "publica.pod" -}}
metadata:
  labels:
    {{- include "publica.labels" . | nindent 4 }}
  annotations:
    checksum/config: {{ include "publica.config" . | sha256sum }}
spec:
  automountServiceAccountToken: false
  serviceAccountName: {{ include "publica.name" . }}
  terminationGracePeriodSeconds: 30
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    seccompProfile:
      type: RuntimeDefault
  {{- with .Values.image.pullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "publica.selector" . | nindent 10 }}
  containers:
    - name: {{ .Values.block }}
      image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [{{ .Values.block | quote }}, "--config", "/etc/publica/publica.toml"]
      {{- if eq .Values.store.engine "postgres" }}
      {{- if ne .Values.block "gateway" }}
      env:
        - name: PUBLICA_{{ .Values.block | upper }}__DATABASE__URL
          valueFrom:
            secretKeyRef:
              name: {{ required "database.existingSecret is needed" .Values.database.existingSecret }}
              key: url
      {{- end }}
      {{- end }}
      ports:
        - name: grpc
          containerPort: 8080
        - name: admin
          containerPort: 9090
      startupProbe:
        httpGet:
          path: /startupz
          port: admin
          scheme: HTTPS
        periodSeconds: 1
        failureThreshold: 60
      readinessProbe:
        httpGet:
          path: /readyz
          port: admin
          scheme: HTTPS
        periodSeconds: 5
      livenessProbe:
        httpGet:
          path: /livez
          port: admin
          scheme: HTTPS
        periodSeconds: 10
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities:
          drop: [ALL]
      volumeMounts:
        - name: config
          mountPath: /etc/publica
          readOnly: true
        - name: data
          mountPath: /var/lib/publica
        - name: tls
          mountPath: /etc/publica-tls
          readOnly: true
        - name: keys
          mountPath: /var/lib/publica/keys
          readOnly: true
        - name: scratch
          mountPath: /tmp
  volumes:
    - name: config
      configMap:
        name: {{ include "publica.name" . }}
    - name: tls
      secret:
        secretName: {{ .Values.tls.existingSecret | quote }}
        defaultMode: 0440
    - name: keys
      secret:
        secretName: {{ .Values.keys.existingSecret | quote }}
        defaultMode: 0440
    - name: scratch
      emptyDir:
        sizeLimit: 64Mi
    {{- if ne .Values.store.engine "sqlite" }}
    - name: data
      emptyDir:
        sizeLimit: 64Mi
    {{- end }}
{{- end -}}

{{/* The settings file of one role. */}}
{{- define "publica.config" -}}
profile = "production"
data = "/var/lib/publica"

[admin]
listen = "0.0.0.0:9090"
[admin.tls]
certificates = "/etc/publica-tls/tls.crt"
key = "/etc/publica-tls/tls.key"

[listeners.{{ .Values.block }}]
listen = "0.0.0.0:8080"
[listeners.{{ .Values.block }}.tls]
certificates = "/etc/publica-tls/tls.crt"
key = "/etc/publica-tls/tls.key"

[seal]
file = "/var/lib/publica/keys/seal.json"
{{- range $name, $endpoint := .Values.peers }}

[peers.{{ $name }}]
endpoint = {{ tpl $endpoint $ | quote }}
authorities = "/etc/publica-tls/ca.crt"
{{- end }}

[telemetry.log]
format = "json"
{{ .Values.settings }}
{{- end -}}

{{/* Embedded store: one replica on a volume. PostgreSQL: as many replicas as wanted. */}}
{{- define "publica.workload" -}}
{{- if eq .Values.store.engine "sqlite" }}
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: {{ include "publica.name" . }}
  labels:
    {{- include "publica.labels" . | nindent 4 }}
spec:
  replicas: 1
  serviceName: {{ include "publica.name" . }}
  selector:
    matchLabels:
      {{- include "publica.selector" . | nindent 6 }}
  template:
    {{- include "publica.pod" . | nindent 4 }}
  volumeClaimTemplates:
    - metadata:
        name: data
      spec:
        accessModes: [ReadWriteOnce]
        {{- with .Values.store.storageClass }}
        storageClassName: {{ . | quote }}
        {{- end }}
        resources:
          requests:
            storage: {{ .Values.store.size }}
{{- else }}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "publica.name" . }}
  labels:
    {{- include "publica.labels" . | nindent 4 }}
spec:
  replicas: {{ .Values.replicas }}
  strategy:
    rollingUpdate:
      maxUnavailable: 0
  selector:
    matchLabels:
      {{- include "publica.selector" . | nindent 6 }}
  template:
    {{- include "publica.pod" . | nindent 4 }}
{{- end }}
{{- end -}}
