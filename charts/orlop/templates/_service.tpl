{{/* The objects that all three services have alike. Each is passed as in _helpers.tpl; a Deployment also takes "env", the
variables of that service alone. */}}

{{- define "orlop.deployment" -}}
{{- $root := .root -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "orlop.name" . }}
  namespace: {{ $root.Release.Namespace }}
  labels: {{- include "orlop.labels" . | nindent 4 }}
spec:
  replicas: {{ $root.Values.replicas }}
  selector:
    matchLabels: {{- include "orlop.selectorLabels" . | nindent 6 }}
  strategy:
    type: RollingUpdate
    rollingUpdate: {maxUnavailable: 0, maxSurge: 1}
  template:
    metadata:
      labels:
        {{- include "orlop.labels" . | nindent 8 }}
        # Meshes are kept out: the services do TLS themselves, and movers are not in the mesh.
        sidecar.istio.io/inject: "false"
        {{- with .values.podLabels }}{{ toYaml . | nindent 8 }}{{ end }}
      annotations:
        kubectl.kubernetes.io/default-container: {{ .service }}
        linkerd.io/inject: disabled
        {{- with .values.podAnnotations }}{{ toYaml . | nindent 8 }}{{ end }}
    spec:
      serviceAccountName: {{ include "orlop.name" . }}
      {{- with $root.Values.image.pullSecrets }}
      imagePullSecrets:
        {{- range . }}
        - name: {{ . }}
        {{- end }}
      {{- end }}
      {{- with $root.Values.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
      terminationGracePeriodSeconds: 40
      enableServiceLinks: false
      securityContext:
        runAsNonRoot: true
        runAsUser: 65532
        runAsGroup: 65532
        fsGroup: 65532
        seccompProfile: {type: RuntimeDefault}
      containers:
        - name: {{ .service }}
          image: {{ include "orlop.image" (dict "root" $root "image" $root.Values.image.controlPlane) | quote }}
          imagePullPolicy: {{ $root.Values.image.pullPolicy }}
          command: [/usr/bin/{{ .service }}]
          env:
            {{- include "orlop.commonEnv" $root | nindent 12 }}
            {{- with .env }}{{ . | nindent 12 }}{{ end }}
            {{- with .values.env }}{{ toYaml . | nindent 12 }}{{ end }}
          ports:
            - {name: grpc, containerPort: 9443, protocol: TCP}
            - {name: http, containerPort: 8080, protocol: TCP}
          # Serving is enough to live. What is missing to be ready stands in the answer of /readyz, by name.
          livenessProbe:
            httpGet: {path: /healthz, port: http}
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 6
          readinessProbe:
            httpGet: {path: /readyz, port: http}
            periodSeconds: 2
            timeoutSeconds: 2
            failureThreshold: 3
          resources: {{- toYaml .values.resources | nindent 12 }}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {drop: [ALL]}
          volumeMounts:
            - {name: tmp, mountPath: /tmp}
      volumes:
        - name: tmp
          emptyDir: {sizeLimit: 64Mi}
      {{- with $root.Values.nodeSelector }}
      nodeSelector: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $root.Values.tolerations }}
      tolerations: {{- toYaml . | nindent 8 }}
      {{- end }}
      affinity:
        {{- if $root.Values.affinity }}
        {{- toYaml $root.Values.affinity | nindent 8 }}
        {{- else }}
        podAntiAffinity:
          preferredDuringSchedulingIgnoredDuringExecution:
            - weight: 100
              podAffinityTerm:
                topologyKey: kubernetes.io/hostname
                labelSelector:
                  matchLabels: {{- include "orlop.selectorLabels" . | nindent 20 }}
        {{- end }}
{{- end }}

{{- define "orlop.service" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "orlop.name" . }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "orlop.labels" . | nindent 4 }}
spec:
  ipFamilyPolicy: PreferDualStack
  selector: {{- include "orlop.selectorLabels" . | nindent 4 }}
  ports:
    - {name: grpc, port: 9443, targetPort: grpc, protocol: TCP}
    - {name: http, port: 8080, targetPort: http, protocol: TCP}
{{- end }}

{{- define "orlop.serviceAccount" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "orlop.name" . }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "orlop.labels" . | nindent 4 }}
  {{- with .values.serviceAccount.annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{- define "orlop.podDisruptionBudget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "orlop.name" . }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "orlop.labels" . | nindent 4 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels: {{- include "orlop.selectorLabels" . | nindent 6 }}
{{- end }}

{{/* Binds the ClusterRole and the Role of a service, which have its name, to its ServiceAccount. */}}
{{- define "orlop.bindings" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ include "orlop.name" . }}
  labels: {{- include "orlop.labels" . | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {{ include "orlop.name" . }}
subjects:
  - kind: ServiceAccount
    name: {{ include "orlop.name" . }}
    namespace: {{ .root.Release.Namespace }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ include "orlop.name" . }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "orlop.labels" . | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ include "orlop.name" . }}
subjects:
  - kind: ServiceAccount
    name: {{ include "orlop.name" . }}
    namespace: {{ .root.Release.Namespace }}
{{- end }}

{{/* Rules that every service needs: who calls, may he, and a word on the objects that people look at. */}}
{{- define "orlop.commonClusterRules" -}}
- apiGroups: [authentication.k8s.io]
  resources: [tokenreviews]
  verbs: [create]
- apiGroups: [authorization.k8s.io]
  resources: [subjectaccessreviews]
  verbs: [create]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}

{{/* Its Lease. A create cannot be limited to a name. */}}
{{- define "orlop.leaseRules" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "orlop.name" . }}]
  verbs: [get, patch]
{{- end }}
