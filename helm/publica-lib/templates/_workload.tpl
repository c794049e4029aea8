{{/* The pod of one role: restricted, probed on the admin port, drained on SIGTERM. */}}
{{- define "publica.pod" -}}
metadata:
  labels:
    {{- include "publica.labels" . | nindent 4 }}
  annotations:
    checksum/config: {{ include "publica.config" . | sha256sum }}
spec:
  automountServiceAccountToken: false
  # Variables of a release called publica would look like settings.
  enableServiceLinks: false
  serviceAccountName: {{ include "publica.name" . }}
  terminationGracePeriodSeconds: 30
  securityContext:
    {{- include "publica.podSecurity" . | nindent 4 }}
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
      image: {{ include "publica.image" . | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [{{ .Values.block | quote }}, "--config", "/etc/publica/publica.toml"]
      {{- if or (include "publica.onPostgres" .) (eq .Values.block "identity") }}
      env:
        {{- if eq .Values.block "identity" }}
        # Here rather than in the file, where `settings` may hold a table of this block.
        - name: PUBLICA_IDENTITY__ISSUER
          value: {{ required "issuer, or global.issuer, is needed: where people reach the identity block" (include "publica.issuer" .) | quote }}
        {{- end }}
        {{- if include "publica.onPostgres" . }}
        {{- include "publica.databaseUrl" (dict "root" . "variable" "URL" "key" "url") | nindent 8 }}
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
        {{- include "publica.containerSecurity" . | nindent 8 }}
      volumeMounts:
        {{- include "publica.mounts" . | nindent 8 }}
        {{- if ne .Values.block "gateway" }}
        - name: witness
          mountPath: /var/lib/publica-witness
        {{- end }}
  volumes:
    - name: config
      configMap:
        name: {{ include "publica.name" . }}
    {{- include "publica.volumes" . | nindent 4 }}
    {{- if ne .Values.store.engine "sqlite" }}
    {{- include "publica.emptyData" . | nindent 4 }}
    {{- end }}
    {{- if ne .Values.block "gateway" }}
    {{- if .Values.witness.existingClaim }}
    - name: witness
      persistentVolumeClaim:
        claimName: {{ .Values.witness.existingClaim | quote }}
    {{- else if ne .Values.store.engine "sqlite" }}
    {{- if not .Values.witness.ephemeral }}
    {{- fail (printf "%s: with PostgreSQL, witness.existingClaim names a claim that all replicas may write; witness.ephemeral does without, and then every restored store has to be marked" .Values.block) }}
    {{- end }}
    # Lasts as long as the pod: who restores the store marks it (publica restore --mark).
    - name: witness
      emptyDir:
        sizeLimit: 16Mi
    {{- end }}
    {{- end }}
{{- end -}}

{{/* The settings file of one role. */}}
{{- define "publica.config" -}}
profile = "production"
data = "/var/lib/publica"
witness = "/var/lib/publica-witness"

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
{{- with include "publica.issuer" . }}

# People and machines with tokens of this issuer are believed.
[[auth.issuers]]
issuer = {{ . | quote }}
jwks_url = {{ tpl $.Values.jwksUrl $ | quote }}
{{- if $.Values.jwksPrivate }}
jwks_authorities = "/etc/publica-tls/ca.crt"
{{- end }}
algorithms = ["RS256", "PS256", "ES256", "EdDSA"]
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
    {{- if and (ne .Values.block "gateway") (not .Values.witness.existingClaim) }}
    - metadata:
        name: witness
      spec:
        accessModes: [ReadWriteOnce]
        {{- with .Values.store.storageClass }}
        storageClassName: {{ . | quote }}
        {{- end }}
        resources:
          requests:
            storage: {{ .Values.witness.size }}
    {{- end }}
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
