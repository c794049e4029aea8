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
