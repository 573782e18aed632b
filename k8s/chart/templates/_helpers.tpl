{{- define "tally.name" -}}
{{- if contains "tally" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-tally" .Release.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "tally.selector" -}}
app.kubernetes.io/name: tally
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tally.labels" -}}
{{ include "tally.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "tally.account" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "tally.name" .) }}{{ else }}{{ .Values.serviceAccount.name | default "default" }}{{ end }}
{{- end }}

{{- define "tally.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "tally.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "tally.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* tally.yaml: what has a value of its own, then `settings`, which may not say the same again. */}}
{{- define "tally.settings" -}}
{{- $own := dict
  "app.id" .Values.appId
  "topics.prefix" .Values.topics.prefix
  "topics.partitions" (int .Values.topics.partitions)
  "topics.replication" (int .Values.topics.replication)
  "kafka.bootstrap.servers" .Values.kafka.bootstrapServers
  "kafka.insecure" .Values.kafka.insecure
  "state.dir" "/var/lib/tally/state"
  "state.memory" .Values.stateMemory
  "shutdown.timeout" .Values.shutdownTimeout
  "http.listen" "0.0.0.0:8080"
  "http.auth" (ternary "bearer" "none" .Values.auth.enabled)
  "http.insecure" (not .Values.auth.enabled)
  "http.audit" .Values.auth.audit
  "log.format" "json" }}
{{- if and .Values.kafka.properties (not .Values.kafka.existingSecret) }}{{ $_ := set $own "kafka.properties" .Values.kafka.properties }}{{ end }}
{{- with .Values.postgres.url }}{{ $_ := set $own "postgres.url" . }}{{ end }}
{{- with .Values.redis.url }}{{ $_ := set $own "redis.url" . }}{{ end }}
{{- if .Values.auth.enabled }}
{{- if .Values.auth.apiKeysSecret }}{{ $_ := set $own "http.api_keys" "/etc/tally/api-keys/api-keys" }}{{ end }}
{{- if .Values.auth.jwt.keysSecret }}
{{- $files := list }}{{ range .Values.auth.jwt.keys }}{{ $files = append $files (printf "/etc/tally/jwt/%s" .) }}{{ end }}
{{- $_ := set $own "http.jwt.keys" $files }}
{{- $_ := set $own "http.jwt.issuer" .Values.auth.jwt.issuer }}
{{- $_ := set $own "http.jwt.audience" .Values.auth.jwt.audience }}
{{- end }}
{{- if not (or .Values.auth.apiKeysSecret .Values.auth.jwt.keysSecret) }}
{{- fail "auth.enabled: nobody could get in; set auth.apiKeysSecret (like tally-api-keys), auth.jwt.keysSecret, or both" }}
{{- end }}
{{- end }}
{{- range $name, $value := .Values.settings }}
{{- if hasKey $own $name }}{{ fail (printf "settings.%s: has a value of its own in this chart, see values.yaml" $name) }}{{ end }}
{{- $_ := set $own $name $value }}
{{- end }}
{{- toYaml $own }}
{{- end }}

{{/* Environment of every container of the image: its name, its address, its secrets. */}}
{{- define "tally.environment" -}}
- name: TALLY_INSTANCE_ID
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: TALLY_HTTP_ADVERTISE
  value: $(TALLY_INSTANCE_ID).{{ include "tally.name" . }}-pods:8080
{{- if .Values.postgres.existingSecret }}
- name: TALLY_POSTGRES_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ .Values.postgres.existingSecret }}, key: {{ .Values.postgres.secretKey }}}}
{{- end }}
{{- if .Values.redis.existingSecret }}
- name: TALLY_REDIS_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ .Values.redis.existingSecret }}, key: {{ .Values.redis.secretKey }}}}
{{- end }}
{{- if .Values.cursorKeySecret }}
- name: TALLY_HTTP_CURSOR_KEY
  valueFrom: {secretKeyRef: {name: {{ .Values.cursorKeySecret }}, key: cursor-key}}
{{- end }}
{{- if .Values.kafka.existingSecret }}
- name: KAFKA_USERNAME
  valueFrom: {secretKeyRef: {name: {{ .Values.kafka.existingSecret }}, key: sasl.username}}
- name: KAFKA_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ .Values.kafka.existingSecret }}, key: sasl.password}}
- name: TALLY_KAFKA_PROPERTIES
  value: {{ concat .Values.kafka.properties (list "sasl.username=$(KAFKA_USERNAME)" "sasl.password=$(KAFKA_PASSWORD)") | join "," | quote }}
{{- end }}
{{- end }}
