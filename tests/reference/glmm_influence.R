# What leaving out each group does to a generalised model, by lme4's influence() and its refits, in influence.ME's conventions:
#   Rscript tests/reference/glmm_influence.R > tests/reference/glmm_influence.json
suppressMessages({ library(lme4); library(jsonlite) })
epil <- read.csv("tests/data/epil.csv")
epil$trt <- factor(epil$trt)
epil$subject <- factor(epil$subject)
# tolPwrss: at its default log|H| is one step of Newton's method behind, which shows in the third digit
control <- glmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10, maxfun = 1e5), tolPwrss = 1e-12)
case <- function(id, formula, data, family, group) {
  # calls are evaluated again by influence(), so they hold what they need
  m <- eval(bquote(glmer(.(as.formula(formula)), data = .(as.name(data)), family = .(as.name(family)), control = control)))
  found <- influence(m, groups = group)
  fixed <- found[[paste0("fixed.effects[-", group, "]")]]
  list(id = id, formula = formula, data = data, family = family, group = group, deviance = -2 * as.numeric(logLik(m)),
       levels = rownames(fixed), names = colnames(fixed), fixed = fixed,
       # lme4 takes the fit off the deletion, and has the factor (n - p) / n, of n groups and p effects, in Cook's distance
       dfbetas = -dfbetas(found), cooks_distance = as.vector(cooks.distance(found)) * nrow(fixed) / (nrow(fixed) - ncol(fixed)))
}
out <- list(
  case("cbpp", "cbind(incidence, size - incidence) ~ period + (1 | herd)", "cbpp", "binomial", "herd"),
  case("epil", "y ~ lbase * trt + (1 | subject)", "epil", "poisson", "subject")
)
cat(toJSON(out, digits = 12, auto_unbox = TRUE, pretty = TRUE), "\n")
