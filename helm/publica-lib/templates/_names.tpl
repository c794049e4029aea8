{{- define "publica.name" -}}
{{- printf "%s-%s" .Release.Name .Values.block | trunc 53 | trimSuffix "-" -}}
{{- end -}}

{{- define "publica.labels" -}}
app.kubernetes.io/name: {{ .Values.block }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: publica
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end -}}

{{- define "publica.selector" -}}
app.kubernetes.io/name: {{ .Values.block }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* The issuer of the suite: this chart's, or that of all charts. */}}
{{- define "publica.issuer" -}}
{{- .Values.issuer | default (.Values.global).issuer | default "" -}}
{{- end -}}

{{/* True if this role keeps a store on PostgreSQL. */}}
{{- define "publica.onPostgres" -}}
{{- if and (eq .Values.store.engine "postgres") (ne .Values.block "gateway") }}true{{ end -}}
{{- end -}}

{{/* One secret as an environment variable of the block's database. */}}
{{- define "publica.databaseUrl" -}}
- name: PUBLICA_{{ .root.Values.block | upper }}__DATABASE__{{ .variable }}
  valueFrom:
    secretKeyRef:
      name: {{ required "database.existingSecret is needed" .root.Values.database.existingSecret }}
      key: {{ .key }}
{{- end -}}

{{- define "publica.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{/* What holds for every pod. */}}
{{- define "publica.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* What holds for every container. */}}
{{- define "publica.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "publica.mounts" -}}
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
{{- end -}}

{{/* Secrets and room to write; settings and, where it is kept, data come beside. */}}
{{- define "publica.volumes" -}}
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
{{- end -}}

{{- define "publica.emptyData" -}}
- name: data
  emptyDir:
    sizeLimit: 64Mi
{{- end -}}

{{/* The way out to name servers. */}}
{{- define "publica.nameServers" -}}
- to:
    - namespaceSelector: {}
  ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
{{- end -}}
