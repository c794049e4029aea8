{{/*
Brings the schema of a block on PostgreSQL up to date before its new pods start, as the owner of
the schema; the service's own role cannot change it. Hooks run before anything else of a release
exists, so this one brings its settings along. It carries labels of its own: no service and no rule
for the block's pods may select it.
*/}}
{{- define "publica.migrationName" -}}
{{- printf "%s-migrate" (include "publica.name" .) -}}
{{- end -}}

{{- define "publica.migrationLabels" -}}
app.kubernetes.io/name: {{ .Values.block }}-migrate
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "publica.migrationMetadata" -}}
metadata:
  name: {{ include "publica.migrationName" .root }}
  labels:
    {{- include "publica.migrationLabels" .root | nindent 4 }}
    app.kubernetes.io/managed-by: {{ .root.Release.Service }}
    app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
  annotations:
    helm.sh/hook: pre-install,pre-upgrade
    helm.sh/hook-weight: {{ .weight | quote }}
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}

{{- define "publica.migration" -}}
{{- if and (include "publica.onPostgres" .) .Values.migration.enabled }}
---
apiVersion: v1
kind: ConfigMap
{{ include "publica.migrationMetadata" (dict "root" . "weight" "-5") }}
data:
  publica.toml: |
    {{- include "publica.config" . | nindent 4 }}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
{{ include "publica.migrationMetadata" (dict "root" . "weight" "-5") }}
spec:
  podSelector:
    matchLabels:
      {{- include "publica.migrationLabels" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
  egress:
    {{- include "publica.nameServers" . | nindent 4 }}
    {{- with .Values.egress }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
---
apiVersion: batch/v1
kind: Job
{{ include "publica.migrationMetadata" (dict "root" . "weight" "0") }}
spec:
  # A migration takes up where another has stopped; one that fails thrice wants a look.
  backoffLimit: 2
  activeDeadlineSeconds: {{ .Values.migration.deadlineSeconds }}
  template:
    metadata:
      labels:
        {{- include "publica.migrationLabels" . | nindent 8 }}
    spec:
      restartPolicy: Never
      automountServiceAccountToken: false
      enableServiceLinks: false
      securityContext:
        {{- include "publica.podSecurity" . | nindent 8 }}
      {{- with .Values.image.pullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      containers:
        - name: migrate
          image: {{ include "publica.image" . | quote }}
          imagePullPolicy: {{ .Values.image.pullPolicy }}
          args: [migrate, "--blocks", {{ .Values.block | quote }}, "--config", "/etc/publica/publica.toml"]
          env:
            {{- include "publica.databaseUrl" (dict "root" . "variable" "URL" "key" "url") | nindent 12 }}
            {{- include "publica.databaseUrl" (dict "root" . "variable" "MIGRATE_URL" "key" "migrate-url") | nindent 12 }}
          resources:
            {{- toYaml .Values.resources | nindent 12 }}
          securityContext:
            {{- include "publica.containerSecurity" . | nindent 12 }}
          volumeMounts:
            {{- include "publica.mounts" . | nindent 12 }}
      volumes:
        - name: config
          configMap:
            name: {{ include "publica.migrationName" . }}
        {{- include "publica.volumes" . | nindent 8 }}
        {{- include "publica.emptyData" . | nindent 8 }}
{{- end }}
{{- end -}}
