{{/* An object of the catalogue, as (dict "root" $ "kind" "Addon" "name" "pvc-addon" "hook" "" "mark" "release"). */}}
{{- define "orlop.catalogueObject" -}}
apiVersion: addons.kubestash.com/v1alpha1
kind: {{ .kind }}
metadata:
  name: {{ .name }}
  labels: {{- include "orlop.commonLabels" .root | nindent 4 }}
  annotations:
    meta.helm.sh/release-name: {{ .root.Release.Name }}
    meta.helm.sh/release-namespace: {{ .root.Release.Namespace }}
    orlop.dev/catalogue: {{ .mark }}
    {{- with .hook }}
    helm.sh/hook: {{ . }}
    {{- end }}
spec: {{- include (printf "orlop.catalogue.%s" .name) .root | nindent 2 }}
{{- end }}

{{/* Where every task may keep temporary files. */}}
{{- define "orlop.scratchVolume" -}}
- name: kubestash-tmp-volume
  usage: Temporary files.
  source:
    emptyDir: {}
{{- end }}

{{- define "orlop.scratchMount" -}}
- name: kubestash-tmp-volume
  mountPath: /kubestash-tmp
{{- end }}

{{/* The claim that is backed up or restored by itself. */}}
{{- define "orlop.dataVolume" -}}
- name: kubestash-data-volume
  usage: The data.
  source:
    persistentVolumeClaim:
      claimName: ${PVC_NAME}
{{- end }}

{{- define "orlop.dataMount" -}}
- name: kubestash-data-volume
  mountPath: /kubestash-data
{{- end }}

{{/* Parameters of every task. The engine streams and needs neither; they are accepted because manifests set them. */}}
{{- define "orlop.commonParameters" -}}
- name: enableCache
  usage: Accepted, without effect.
  required: false
  default: "true"
- name: scratchDir
  usage: Directory for temporary files.
  required: false
  default: /kubestash-tmp
{{- end }}

{{- define "orlop.excludeParameter" -}}
- name: exclude
  usage: Patterns of files to leave out, comma-separated.
  required: false
{{- end }}

{{/* Deployments, StatefulSets and DaemonSets: a Job for each pod or node, where these have data of their own. */}}
{{- define "orlop.catalogue.workload-addon" -}}
backupTasks:
  - name: logical-backup
    driver: Restic
    executor: Job
    function: workload-backup
    singleton: false
    parameters:
      - name: paths
        usage: Absolute paths to back up, comma-separated; all volumes of the target if left out.
        required: true
      {{- include "orlop.excludeParameter" . | nindent 6 }}
      {{- include "orlop.commonParameters" . | nindent 6 }}
    volumeTemplate: {{- include "orlop.scratchVolume" . | nindent 6 }}
    volumeMounts: {{- include "orlop.scratchMount" . | nindent 6 }}
restoreTasks:
  - name: logical-backup-restore
    driver: Restic
    executor: Job
    function: workload-restore
    singleton: false
    parameters:
      - name: include
        usage: Patterns of files to restore, comma-separated; all if left out.
        required: false
      {{- include "orlop.excludeParameter" . | nindent 6 }}
      {{- include "orlop.commonParameters" . | nindent 6 }}
    volumeTemplate: {{- include "orlop.scratchVolume" . | nindent 6 }}
    volumeMounts: {{- include "orlop.scratchMount" . | nindent 6 }}
{{- end }}

{{/* Claims, whether a workload uses them or not. */}}
{{- define "orlop.catalogue.pvc-addon" -}}
backupTasks:
  - name: logical-backup
    driver: Restic
    executor: Job
    function: pvc-backup
    singleton: true
    parameters:
      - name: paths
        usage: Absolute paths to back up, comma-separated; the claim is mounted at /kubestash-data.
        required: false
        default: /kubestash-data
      {{- include "orlop.excludeParameter" . | nindent 6 }}
      {{- include "orlop.commonParameters" . | nindent 6 }}
    volumeTemplate:
      {{- include "orlop.dataVolume" . | nindent 6 }}
      {{- include "orlop.scratchVolume" . | nindent 6 }}
    volumeMounts:
      {{- include "orlop.dataMount" . | nindent 6 }}
      {{- include "orlop.scratchMount" . | nindent 6 }}
restoreTasks:
  - name: logical-backup-restore
    driver: Restic
    executor: Job
    function: pvc-restore
    singleton: true
    parameters: {{- include "orlop.commonParameters" . | nindent 6 }}
    volumeTemplate:
      {{- include "orlop.dataVolume" . | nindent 6 }}
      {{- include "orlop.scratchVolume" . | nindent 6 }}
    volumeMounts:
      {{- include "orlop.dataMount" . | nindent 6 }}
      {{- include "orlop.scratchMount" . | nindent 6 }}
{{- end }}

{{/* Arguments say what is moved. Where it goes and how fast is told to the mover when it attaches to its session. */}}
{{- define "orlop.catalogue.workload-backup" -}}
image: {{ include "orlop.moverImage" . | quote }}
args:
  - agent
  - backup
  - --enable-cache=${enableCache:=true}
  - --scratch-dir=${scratchDir:=/kubestash-tmp}
  - --paths=${paths:=}
  - --exclude=${exclude:=}
{{- end }}

{{- define "orlop.catalogue.workload-restore" -}}
image: {{ include "orlop.moverImage" . | quote }}
args:
  - agent
  - restore
  - --enable-cache=${enableCache:=true}
  - --scratch-dir=${scratchDir:=/kubestash-tmp}
  - --exclude=${exclude:=}
  - --include=${include:=}
{{- end }}

{{- define "orlop.catalogue.pvc-backup" -}}
image: {{ include "orlop.moverImage" . | quote }}
args:
  - agent
  - backup
  - --enable-cache=${enableCache:=true}
  - --scratch-dir=${scratchDir:=/kubestash-tmp}
  - --exclude=${exclude:=}
  - --paths=${paths:=/kubestash-data}
{{- end }}

{{- define "orlop.catalogue.pvc-restore" -}}
image: {{ include "orlop.moverImage" . | quote }}
args:
  - agent
  - restore
  - --enable-cache=${enableCache:=true}
  - --scratch-dir=${scratchDir:=/kubestash-tmp}
{{- end }}
