{{/* A service is passed as (dict "root" $ "service" "scheduler" "values" .Values.scheduler). Names of objects do not depend
on the release's name: movers and trigger pods find the services by them. */}}

{{- define "orlop.name" -}}
orlop-{{ .service }}
{{- end }}

{{/* Labels by which a Service or a Deployment finds its pods; they never change. */}}
{{- define "orlop.selectorLabels" -}}
app.kubernetes.io/name: orlop
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .service }}
{{- end }}

{{/* Labels of all objects. */}}
{{- define "orlop.commonLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: orlop
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: orlop
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{/* Labels of the objects of one service. */}}
{{- define "orlop.labels" -}}
{{ include "orlop.commonLabels" .root }}
app.kubernetes.io/component: {{ .service }}
{{- end }}

{{/* An image, as (dict "root" $ "image" .Values.image.dataMover). */}}
{{- define "orlop.image" -}}
{{- $values := .root.Values.image -}}
{{- if $values.registry }}{{ $values.registry }}/{{ end }}{{ .image.repository }}
{{- if .image.digest }}@{{ .image.digest }}{{ else }}:{{ $values.tag | default .root.Chart.AppVersion }}{{ end }}
{{- end }}

{{- define "orlop.moverImage" -}}
{{ include "orlop.image" (dict "root" . "image" .Values.image.dataMover) }}
{{- end }}

{{/* {cpu: 100m, memory: 1Gi} as cpu=100m,memory=1Gi. */}}
{{- define "orlop.quantities" -}}
{{- $pairs := list -}}
{{- range $name, $quantity := . }}{{ $pairs = append $pairs (printf "%s=%v" $name $quantity) }}{{ end -}}
{{ join "," $pairs }}
{{- end }}

{{/* The user that the API server sees when a service calls. */}}
{{- define "orlop.user" -}}
system:serviceaccount:{{ .root.Release.Namespace }}:{{ include "orlop.name" . }}
{{- end }}

{{/* All of Orlop's own users, as a CEL list. */}}
{{- define "orlop.users" -}}
{{- $users := list -}}
{{- range $service := list "storage-initializer" "scheduler" "session-controller" }}
{{- $users = append $users (printf "'%s'" (include "orlop.user" (dict "root" $ "service" $service))) }}
{{- end -}}
[{{ join ", " $users }}]
{{- end }}

{{/* Variables that every service gets. */}}
{{- define "orlop.commonEnv" -}}
- name: ORLOP_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: ORLOP_POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: ORLOP_LOG_LEVEL
  value: {{ .Values.logging.level | quote }}
- name: ORLOP_LOG_FORMAT
  value: {{ .Values.logging.format | quote }}
- name: ORLOP_GRPC_REFLECTION
  value: {{ .Values.grpc.reflection | quote }}
- name: ORLOP_LEASE_DURATION_SECONDS
  value: {{ .Values.leaderElection.leaseDurationSeconds | quote }}
- name: ORLOP_LEASE_RENEW_DEADLINE_SECONDS
  value: {{ .Values.leaderElection.renewDeadlineSeconds | quote }}
- name: ORLOP_LEASE_RETRY_PERIOD_SECONDS
  value: {{ .Values.leaderElection.retryPeriodSeconds | quote }}
{{- with .Values.telemetry.otlpEndpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ . | quote }}
{{- end }}
{{- with .Values.telemetry.env }}
{{ toYaml . }}
{{- end }}
{{- with .Values.proxy.httpProxy }}
- name: HTTP_PROXY
  value: {{ . | quote }}
{{- end }}
{{- with .Values.proxy.httpsProxy }}
- name: HTTPS_PROXY
  value: {{ . | quote }}
{{- end }}
{{- if or .Values.proxy.httpProxy .Values.proxy.httpsProxy }}
- name: NO_PROXY
  value: {{ join "," (compact (list .Values.proxy.noProxy ".svc" ".svc.cluster.local" "$(KUBERNETES_SERVICE_HOST)" "localhost" "127.0.0.1")) | quote }}
{{- end }}
{{- end }}

{{/* Variables of the services that make pods in the namespaces of the workloads. */}}
{{- define "orlop.moverEnv" -}}
- name: ORLOP_MOVER_IMAGE
  value: {{ include "orlop.moverImage" . | quote }}
- name: ORLOP_MOVER_IMAGE_PULL_POLICY
  value: {{ .Values.image.pullPolicy | quote }}
- name: ORLOP_MOVER_IMAGE_PULL_SECRETS
  value: {{ join "," (.Values.mover.imagePullSecrets | default .Values.image.pullSecrets) | quote }}
- name: ORLOP_MOVER_NETWORK_POLICY
  value: {{ .Values.mover.networkPolicy | quote }}
{{- end }}
